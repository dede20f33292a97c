"""The translator: its graphs say what the whole model says, whatever is padded, cached or left out."""

import dataclasses
import json
import re
from pathlib import Path

import attn_runtime
import pytest
import torch
from attn_models import reference_generation
from attn_models.data.translation import text
from attn_models.spec import whole
from attn_models.zoo import translator
from attn_models.zoo.translator import MODEL, Attention, StepView, Translator
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, named_dims
from torch import nn
from torch.nn import functional as F

SMALL = {"vocabulary": 40, "width": 32, "heads": 4, "layers": 2, "feed_forward": 48, "max_length": 16}


@pytest.fixture(scope="module")
def spec():
    return translator.of_size(**SMALL)


@pytest.fixture(scope="module")
def module(spec):
    """A fresh model says one token again and again: its output is its embedding. This one says this and that."""
    torch.manual_seed(1)
    module = spec.build().eval()
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if parameter.ndim == 2 and "table" not in name:
                parameter.mul_(3.0)
        nn.init.normal_(module.decoder.norm.weight, std=2.0)
    return module


def batch(rows=5, longest=9, seed=0):
    random = torch.Generator().manual_seed(seed)
    sources = [torch.randint(4, 40, (1, 1 + (longest - 1) * n // (rows - 1)), generator=random) for n in range(rows)]
    return reference_generation.together(
        [{"source": s, "source_mask": torch.ones_like(s, dtype=torch.bool)} for s in sources], 0
    )


def run(spec, module, graph, **values):
    """The answers of a graph by name, to inputs by name."""
    chosen = next(g for g in spec.graphs if g.name == graph)
    with torch.no_grad():
        answers = chosen.view(module)(*(values[i.name] for i in chosen.inputs))
    answers = (answers,) if isinstance(answers, torch.Tensor) else answers
    return dict(zip((o.name for o in chosen.outputs), answers, strict=True))


def logits_by_cache(spec, module, prompt, target, first=1, capacity=16):
    """Logits [B, T, V] of a given answer, its first tokens read at once and the others one by one; the cache by hand."""
    known = {**prompt, **run(spec, module, "encoder", **prompt)}
    begin = target[:, :first]
    known.update(
        run(spec, module, "first", **known, tokens=begin, tokens_mask=torch.ones_like(begin, dtype=torch.bool))
    )
    cache = {kind: torch.zeros(len(target), 4, capacity, 8) for kind in spec.generation.asset["cache"]}
    found = [known["logits"]]
    for kind in cache:
        cache[kind][:, :, :first] = known[f"new_{kind}"]
    for place in range(first, target.shape[1]):
        known.update({f"past_{kind}": cached for kind, cached in cache.items()})
        known.update(
            token=target[:, place : place + 1],
            position=torch.full((len(target), 1), place),
            past_mask=(torch.arange(capacity) < place).expand(len(target), -1),
        )
        known.update(run(spec, module, "step", **known))
        for kind in cache:
            cache[kind][:, :, place] = known[f"new_{kind}"][:, :, 0]
        found.append(known["logits"])
    return torch.stack(found, dim=1)


@pytest.mark.parametrize("first", [1, 4])
def test_the_cache_gives_the_logits_of_the_whole_model(spec, module, first):
    prompt = batch()
    target = torch.randint(0, 40, (5, 12), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole_logits = module(**prompt, target=target)
    assert torch.allclose(logits_by_cache(spec, module, prompt, target, first), whole_logits[:, first - 1 :], atol=1e-4)
    assert whole_logits.std() > 0.5, "logits that are all alike would prove nothing"


def test_what_is_generated_with_the_cache_is_what_is_generated_without(spec, module):
    prompt = batch(rows=8)
    for max_length in (15, 6, 1):
        plain = reference_generation.greedy(module, spec.generation, prompt, max_length)
        cached = reference_generation.cached(module, spec, prompt, max_length)
        assert torch.equal(cached.tokens, plain.tokens) and torch.equal(cached.lengths, plain.lengths)
        assert torch.allclose(cached.scores, plain.scores, atol=1e-5)
        assert cached.margin == pytest.approx(plain.margin, abs=1e-3)
        if max_length == 15:
            quick = reference_generation.cached(module, spec, prompt, max_length, scores=False)
            assert (
                torch.equal(quick.tokens, plain.tokens) and quick.scores.isnan().all() and quick.margin != quick.margin
            )
            assert len(set(plain.tokens.flatten().tolist())) > 8, "answers that are all alike would prove nothing"


def test_begin_may_be_several_tokens_and_rows_may_share_one_position(spec, module):
    """And the new token has a place of its own in the cache that the step sees."""
    seen = []

    class OnePlace(StepView):
        def forward(self, token, position, past_mask, *others):
            seen.append((tuple(position.shape), int(position), past_mask.shape[1]))
            return super().forward(token, position, past_mask, *others)

    graphs = {graph.name: graph for graph in spec.graphs}
    first, *others = graphs["step"].inputs[1].dims
    position = dataclasses.replace(graphs["step"].inputs[1], dims=(Dim.fixed(1), *others))
    assert position.name == "position" and first.dynamic
    step = dataclasses.replace(
        graphs["step"], view=OnePlace, inputs=(graphs["step"].inputs[0], position, *graphs["step"].inputs[2:])
    )
    asset = {**spec.generation.asset, "begin": [spec.generation.asset["begin"], 7, 9]}
    generation = dataclasses.replace(spec.generation, asset=asset)
    changed = dataclasses.replace(spec, graphs=(graphs["encoder"], graphs["first"], step), generation=generation)
    prompt = batch(rows=8)
    plain = reference_generation.greedy(module, generation, prompt, 15)
    cached = reference_generation.cached(module, changed, prompt, 15)
    assert torch.equal(cached.tokens, plain.tokens) and torch.allclose(cached.scores, plain.scores, atol=1e-5)
    assert not torch.equal(plain.tokens, reference_generation.greedy(module, spec.generation, prompt, 15).tokens)
    assert len(seen) > 8 and all(shape == (1, 1) and place < size for shape, place, size in seen)


class LateStep(StepView):
    """Places of the answer counted from 1."""

    def forward(self, token, position, *others):
        return super().forward(token, position + 1, *others)


class BlindStep(StepView):
    """Does not see the oldest token."""

    def forward(self, token, position, past_mask, *others):
        return super().forward(token, position, past_mask & (torch.arange(past_mask.shape[1]) > 0), *others)


class GreedyStep(StepView):
    """Sees places of the cache that are not filled."""

    def forward(self, token, position, past_mask, *others):
        return super().forward(token, position, torch.ones_like(past_mask), *others)


class SwappedStep(StepView):
    """Answers keys in place of values, which then get into the cache."""

    def forward(self, *inputs):
        logits, key, value, *others = super().forward(*inputs)
        return logits, value, key, *others


class ShiftedStep(StepView):
    """Takes the other row's source."""

    def forward(self, token, position, past_mask, source_mask, *keys_values):
        half = len(keys_values) // 2
        return super().forward(
            token, position, past_mask, source_mask, *keys_values[:half], *(t.roll(1, 0) for t in keys_values[half:])
        )


@pytest.mark.parametrize("broken", [LateStep, BlindStep, GreedyStep, SwappedStep, ShiftedStep])
def test_a_step_that_is_broken_is_noticed(spec, module, broken):
    graphs = tuple(dataclasses.replace(g, view=broken) if g.name == "step" else g for g in spec.graphs)
    wrong = dataclasses.replace(spec, graphs=graphs)
    prompt = batch()
    target = torch.randint(0, 40, (5, 12), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole_logits = module(**prompt, target=target)
    assert (logits_by_cache(wrong, module, prompt, target) - whole_logits).abs().max() > 0.05
    plain = reference_generation.greedy(module, spec.generation, prompt, 12)
    cached = reference_generation.cached(module, wrong, prompt, 12)
    assert not torch.equal(cached.tokens, plain.tokens)


def test_padding_changes_nothing(spec, module):
    prompt = batch()
    lengths = prompt["source_mask"].sum(1).tolist()
    target = torch.randint(0, 40, (5, 7), generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        together = module(**prompt, target=target)
        other = torch.where(prompt["source_mask"], prompt["source"], 17)
        assert torch.allclose(module(other, prompt["source_mask"], target), together, atol=1e-5)
        for row, length in enumerate(lengths):
            alone = module(
                prompt["source"][row : row + 1, :length],
                prompt["source_mask"][row : row + 1, :length],
                target[row : row + 1],
            )
            assert torch.allclose(alone[0], together[row], atol=1e-4)
    answers = reference_generation.greedy(module, spec.generation, prompt, 10)
    for row, length in enumerate(lengths):
        one = {name: tensor[row : row + 1, :length] for name, tensor in prompt.items()}
        assert torch.equal(
            reference_generation.greedy(module, spec.generation, one, 10).tokens[0, : answers.lengths[row]],
            answers.tokens[row, : answers.lengths[row]],
        )


def test_padding_of_the_first_tokens_changes_nothing(spec, module):
    prompt = batch(rows=3)
    known = {**prompt, **run(spec, module, "encoder", **prompt)}
    tokens = torch.randint(4, 40, (3, 5), generator=torch.Generator().manual_seed(5))
    mask = torch.arange(5) < torch.tensor([[1], [3], [5]])
    found = run(spec, module, "first", **known, tokens=tokens, tokens_mask=mask)["logits"]
    with torch.no_grad():
        for row, length in enumerate((1, 3, 5)):
            one = {name: tensor[row : row + 1] for name, tensor in prompt.items()}
            assert torch.allclose(module(**one, target=tokens[row : row + 1, :length])[0, -1], found[row], atol=1e-4)


def test_no_token_sees_a_later_one(module):
    prompt = batch(rows=2)
    target = torch.randint(0, 40, (2, 8), generator=torch.Generator().manual_seed(6))
    changed = target.clone()
    changed[:, 5] = (changed[:, 5] + 1) % 40
    with torch.no_grad():
        difference = (module(**prompt, target=target) - module(**prompt, target=changed)).abs().amax(dim=(0, 2))
    assert difference[:5].max() < 1e-6 and difference[5:].min() > 1e-3


def test_of_a_source_without_tokens_the_first_one_counts(spec, module):
    source = torch.tensor([[7, 9, 11]])
    empty = {"source": source, "source_mask": torch.zeros(1, 3, dtype=torch.bool)}
    first = {"source": source, "source_mask": torch.tensor([[True, False, False]])}
    found, expected = (
        reference_generation.cached(module, spec, empty, 5),
        reference_generation.cached(module, spec, first, 5),
    )
    assert torch.equal(found.tokens, expected.tokens) and torch.allclose(found.scores, expected.scores)


def test_the_graphs_take_and_answer_what_they_declare(spec, module):
    sizes = {"batch": 3, "source": 5, "prompt": 4, "cache": 7}
    for graph in spec.graphs:
        values = {}
        for tensor in graph.inputs:
            shape = tensor.shape(sizes)
            if tensor.dtype == "int64":
                values[tensor.name] = torch.randint(tensor.low, tensor.high, shape)
            else:
                values[tensor.name] = torch.rand(shape) > 0.5 if tensor.dtype == "bool" else torch.randn(shape)
        assert set(named_dims(graph.inputs)) <= set(sizes)
        answers = run(spec, module, graph.name, **values)
        for tensor in graph.outputs:
            assert tuple(answers[tensor.name].shape) == tensor.shape(sizes), (graph.name, tensor.name)
            assert answers[tensor.name].isfinite().all()


def test_the_graphs_share_the_models_weights(spec, module):
    own = {id(p) for p in module.parameters()}
    for graph in spec.graphs:
        view = graph.view(module)
        assert view is not whole and {id(p) for p in view.parameters()} <= own
        assert set(view.state_dict()) <= set(module.state_dict()), "and their names"


def test_every_attention_is_described(module):
    paths = {name for name, part in module.named_modules() if isinstance(part, Attention)}
    found = [name for described in MODEL.attention for name in paths if re.fullmatch(described.module, name)]
    assert sorted(found) == sorted(paths) and len(paths) == 6


def test_what_lies_beside_the_graphs_is_what_the_schema_says():
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(
        (Path(attn_runtime.__file__).parent / "bundle" / "manifest.schema.json").read_text(encoding="utf-8")
    )
    for kind, asset in (("text_input", MODEL.assets()["text.json"]), ("generation", MODEL.generation.asset)):
        jsonschema.validate(asset, {"$defs": schema["$defs"], "$ref": f"#/$defs/{kind}"})
    assert MODEL.generation.asset["max_length"] <= named_dims(MODEL.graphs[2].inputs)["cache"].max


def test_prompts_are_sentences_of_different_lengths():
    prompts = MODEL.generation.prompts(0)
    assert len({p["source"].shape[1] for p in prompts}) > 2
    assert all(p["source"].shape == p["source_mask"].shape and p["source_mask"].all() for p in prompts)
    assert all((p["source"] > text.END).all() for p in prompts)
    assert all(torch.equal(a["source"], b["source"]) for a, b in zip(prompts, MODEL.generation.prompts(0), strict=True))
    assert not all(
        a["source"].shape == b["source"].shape and torch.equal(a["source"], b["source"])
        for a, b in zip(prompts, MODEL.generation.prompts(1), strict=True)
    )


def test_a_translator_of_another_size_is_for_measuring():
    large = translator.of_size(vocabulary=300, width=64, heads=8, layers=3, feed_forward=128)
    assert large.assets is None and large.recipe is None
    module = large.build().eval()
    prompts = reference_generation.together(large.generation.prompts(0), 0)
    assert prompts["source"].max() < 300
    assert reference_generation.cached(module, large, prompts, 3).tokens.shape == (4, 3)
    with pytest.raises(UsageError, match="width 30: expected a multiple of twice the heads, 8"):
        translator.of_size(vocabulary=300, width=30, heads=4, layers=1, feed_forward=8).build()


@pytest.fixture(scope="module")
def recipe():
    return MODEL.recipe()


def test_what_is_trained_on_is_what_is_generated(recipe):
    for split in (recipe.train, recipe.validation, recipe.test):
        source, mask, target = (split.inputs[name] for name in ("source", "source_mask", "target"))
        assert torch.equal(mask, source != text.PAD)
        assert target[:, 0].eq(text.BEGIN).all()
        assert torch.equal(target[:, 1:], split.targets[:, :-1])
        assert split.targets.eq(text.END).sum(1).eq(1).all()
    row = recipe.test.targets[0]
    assert text.decode(row[row > text.END]) == text.EXAMPLE[1]


def test_the_loss_is_a_sum_over_words_and_not_over_padding(recipe):
    part = recipe.test.first(3)
    logits = torch.randn(
        3, part.targets.shape[1], 50 + int(part.targets.max()), generator=torch.Generator().manual_seed(0)
    )
    by_hand = sum(
        -logits[row, place].log_softmax(-1)[token]
        for row, targets in enumerate(part.targets)
        for place, token in enumerate(targets)
        if token != text.PAD
    )
    assert recipe.loss(logits, part.targets, reduction="sum") == pytest.approx(float(by_hand), rel=1e-5)
    assert recipe.units(part.targets).tolist() == [(row != 0).sum() for row in part.targets]


def test_a_handful_of_sentences_is_learned_and_answered(recipe):
    few = recipe.train.first(24)
    torch.manual_seed(0)
    module = Translator(width=64, heads=4, layers=1, feed_forward=64).train()
    # reference_generation.cached wants the graphs of this size; the recipe's own predict is of MODEL's size
    small = translator.of_size(len(text.tokens()), width=64, heads=4, layers=1, feed_forward=64)
    optimizer = torch.optim.AdamW(module.parameters(), lr=4e-3)
    for _ in range(60):
        optimizer.zero_grad()
        (recipe.loss(module(**few.inputs), few.targets) / 24).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
    module.eval()
    prompt = {name: few.inputs[name] for name in ("source", "source_mask")}
    answers = reference_generation.cached(module, small, prompt, few.targets.shape[1]).tokens
    right = recipe.right(F.pad(answers, (0, few.targets.shape[1] - answers.shape[1])), few.targets)
    assert right.mean() > 0.9
    wrong = {"source": few.inputs["source"].roll(1, 0), "source_mask": few.inputs["source_mask"].roll(1, 0)}
    answers = reference_generation.cached(module, small, wrong, few.targets.shape[1]).tokens
    assert recipe.right(F.pad(answers, (0, few.targets.shape[1] - answers.shape[1])), few.targets).mean() < 0.1
