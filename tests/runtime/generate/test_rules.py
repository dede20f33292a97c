"""The rules on scores, held against transformers' LogitsProcessors on the same scores and against its `generate`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_runtime.bundle import Bundle
from attn_runtime.errors import BundleError, InputError, UsageError
from attn_runtime.generate import GenerateOptions, Generator, Sample, Settings, open_generator
from attn_runtime.generate.graphs import GenerationRules, GraphIO
from attn_runtime.generate.rules import ScoreRules
from support.graphs.make_hostile_bundles import rehash
from support.models.tiny_generators import Tiny, asset_of, drawn_prompts, inputs_of, logits_of, write_bundle

VOCABULARY = 13
STOP = (1, 4)
#: Keys of the asset, and what transformers' generate is told for the same.
RULES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "repetition": ({"repetition_penalty": 1.7}, {"repetition_penalty": 1.7}),
    "reward": ({"repetition_penalty": 0.6}, {"repetition_penalty": 0.6}),
    "bigrams": ({"no_repeat_ngram": 2}, {"no_repeat_ngram_size": 2}),
    "trigrams": ({"no_repeat_ngram": 3}, {"no_repeat_ngram_size": 3}),
    "unigrams": ({"no_repeat_ngram": 1, "max_new": 5}, {"no_repeat_ngram_size": 1, "max_new_tokens": 5}),
    "fewest": ({"min_new": 6}, {"min_new_tokens": 6}),
    "fewest of a row": ({"min_length": 8}, {"min_length": 8}),
    "bigrams of the source": ({"encoder_no_repeat_ngram": 2}, {"encoder_no_repeat_ngram_size": 2}),
    "suppress": ({"suppress": [3, 7, 8]}, {"suppress_tokens": [3, 7, 8]}),
    "suppress first": ({"suppress_first": [5, 6, 9, 10, 11]}, {"begin_suppress_tokens": [5, 6, 9, 10, 11]}),
    "forced end": ({"forced_end": [4], "max_new": 6}, {"forced_eos_token_id": 4, "max_new_tokens": 6}),
    "all": (
        {"repetition_penalty": 1.3, "no_repeat_ngram": 2, "min_new": 4, "suppress": [3], "suppress_first": [5], "forced_end": [1]}
        | {"max_new": 9},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "min_new_tokens": 4, "suppress_tokens": [3]}
        | {"begin_suppress_tokens": [5], "forced_eos_token_id": 1, "max_new_tokens": 9},
    ),
}  # fmt: skip
_OF_ASSET = ("suppress", "suppress_first", "forced_end", "encoder_no_repeat_ngram")


def asset_keys(given: dict[str, Any]) -> dict[str, Any]:
    """The keys of the asset that say so: some stand in its `defaults`."""
    return {key: value for key, value in given.items() if key in _OF_ASSET} | {
        "defaults": {key: value for key, value in given.items() if key not in _OF_ASSET}
    }


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("written", [0, 1, 4, 8])
def test_scores_become_what_transformers_makes_of_them(name: str, written: int) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    ours, theirs = RULES[name]
    rng = np.random.default_rng(written)
    prompts = [rng.integers(2, VOCABULARY, 3).tolist() for _ in range(4)]
    answers = [rng.integers(2, VOCABULARY, written).tolist() for _ in range(4)]
    scores = rng.standard_normal((4, VOCABULARY)).astype(np.float32)
    config = transformers.GenerationConfig(**{"max_new_tokens": 20, **theirs}, eos_token_id=list(STOP))
    config._eos_token_tensor = torch.tensor(STOP)
    config.max_length = 3 + config.max_new_tokens
    model = type("Model", (transformers.GenerationMixin,), {"config": transformers.PretrainedConfig()})()
    sources = rng.integers(2, VOCABULARY, (4, 40)).tolist()
    processors = model._get_logits_processor(config, input_ids_seq_length=3, encoder_input_ids=torch.tensor(sources))
    rows = torch.tensor([p + a for p, a in zip(prompts, answers, strict=True)])
    expected = processors(rows, torch.from_numpy(scores.copy())).numpy()

    asset = {"begin": None} | asset_keys(ours)
    settings = Settings.of(GenerateOptions(), GenerationRules.of(asset), STOP, "here")
    limits = [settings.limit(3, 20, "here")] * 4
    rules = ScoreRules.of(settings, prompts, limits, "here", sources)
    assert rules is not None
    for row in range(4):
        rules.apply(scores[row : row + 1], row, [answers[row]])
    np.testing.assert_array_equal(scores, expected)


def test_without_a_rule_there_is_nothing_to_apply() -> None:
    settings = Settings.of(GenerateOptions(), GenerationRules(), STOP, "here")
    assert ScoreRules.of(settings, [[2]], [3], "here") is None


# --- whole answers ------------------------------------------------------------------------------------------------


TRANSLATOR = Tiny(sharpness=1.0, batch=32, stop=STOP, seed=3, layers=1)
WRITER = Tiny(encoder=False, key_heads=1, sharpness=1.0, batch=32, stop=STOP, seed=5, layers=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("rules")


def opened(folder: Path, tiny: Tiny, name: str, **asset: Any) -> Generator:
    path = folder / f"{name}.attn"
    if not path.exists():
        write_bundle(path, tiny, generation=asset_of(tiny) | asset)
    return open_generator(path, "cpu", threads=1)


def hugging_face(tiny: Tiny, start: list[int], prompt: list[int], **options: Any) -> tuple[list[int], float | None]:
    """What transformers' generate answers, begin (or prompt) left out, and its score of beams."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")

    class Model(transformers.PreTrainedModel, transformers.GenerationMixin):
        def __init__(self) -> None:
            super().__init__(transformers.PretrainedConfig(vocab_size=tiny.vocabulary))
            self.unused = torch.nn.Parameter(torch.zeros(1))

        def prepare_inputs_for_generation(self, input_ids: object, **_: object) -> dict[str, object]:
            return {"input_ids": input_ids}

        def forward(self, input_ids: Any, return_dict: bool = True, **_: object) -> object:
            rows = [logits_of(tiny, row, prompt)[-1:] for row in input_ids.tolist()]
            return transformers.modeling_outputs.CausalLMOutput(logits=torch.from_numpy(np.stack(rows)).float())

    found = Model().generate(
        torch.tensor([start]), do_sample=False, use_cache=False, eos_token_id=list(tiny.stop), pad_token_id=0,
        return_dict_in_generate=True, output_scores=True, **{"max_new_tokens": 12, **options},
    )  # fmt: skip
    tokens = found.sequences[0, len(start) :].tolist()
    ends = [n + 1 for n, token in enumerate(tokens) if token in tiny.stop]
    score = getattr(found, "sequences_scores", None)
    return tokens[: ends[0] if ends else None], None if score is None else float(score[0])


def _checked(generator: Generator, tiny: Tiny, name: str, beams: int) -> None:
    prompts = drawn_prompts(tiny, [5, 3, 7], seed=len(name))
    found = generator.generate(inputs_of(tiny, prompts), GenerateOptions(beams=beams, scores=True))
    assert found.scores is not None
    for number, prompt in enumerate(prompts):
        start = [tiny.begin] if tiny.encoder else prompt
        tokens, score = hugging_face(tiny, start, prompt, num_beams=beams, **RULES[name][1])
        assert found.row(number) == tokens
        if score is not None:
            np.testing.assert_allclose(found.scores[number], score, rtol=2e-5)


@pytest.mark.parametrize("tiny", [TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
@pytest.mark.parametrize("beams", [1, 3])
def test_answers_are_those_of_transformers(folder: Path, tiny: Tiny, beams: int) -> None:
    with opened(folder, tiny, f"all{tiny.encoder}", **asset_keys(RULES["all"][0])) as generator:
        _checked(generator, tiny, "all", beams)


@pytest.mark.full
@pytest.mark.parametrize("tiny", [TRANSLATOR, WRITER], ids=["encoder-decoder", "decoder-only"])
@pytest.mark.parametrize("beams", [1, 2, 4])
@pytest.mark.parametrize("name", [name for name in RULES if name != "all"])
def test_answers_are_those_of_transformers_by_each_rule(tmp_path: Path, tiny: Tiny, beams: int, name: str) -> None:
    if tiny.encoder and "source" in name:
        pytest.skip(
            "the source of the model there is begin; tests/models/test_reference_rules.py has one with an encoder"
        )
    keys = asset_keys(RULES[name][0])
    keys["defaults"] = {"max_new": 12} | keys["defaults"]
    with opened(tmp_path, tiny, name.replace(" ", "_"), **keys) as generator:
        _checked(generator, tiny, name, beams)


def test_a_forced_first_token_is_begin_and_counts_into_the_length(folder: Path) -> None:
    """transformers writes forced_bos_token_id as the first token of the answer: a score is divided by one token more."""
    keys = {"begin": [2, 6], "begin_uncounted": 1, "defaults": {"max_length": 12, "beams": 3, "length_penalty": 2.0}}
    with opened(folder, TRANSLATOR, "forced", **keys) as generator:
        prompts = drawn_prompts(TRANSLATOR, [5, 3, 7, 4])
        found = generator.generate(inputs_of(TRANSLATOR, prompts))
        assert found.scores is not None
        for number, prompt in enumerate(prompts):
            tokens, score = hugging_face(
                TRANSLATOR, [2], prompt, num_beams=3, length_penalty=2.0, forced_bos_token_id=6, max_new_tokens=11
            )
            assert [6, *found.row(number)] == tokens
            np.testing.assert_allclose(found.scores[number], score, rtol=2e-5)


# --- begin, choices, defaults -------------------------------------------------------------------------------------


CHOICES = {"language": {"place": 1, "tokens": {"de": 6, "fr": 7}}, "task": {"place": 2, "tokens": {"translate": 9}}}


@pytest.fixture(scope="module")
def chooser(folder: Path) -> Iterator[Generator]:
    with opened(folder, TRANSLATOR, "choices", begin=[2, 7], choices=CHOICES) as generator:
        yield generator


@pytest.mark.parametrize(
    ("chosen", "begin"),
    [({}, [2, 7]), ({"language": "de"}, [2, 6]), ({"task": "translate", "language": "de"}, [2, 6, 9])],
)
def test_begin_is_chosen_by_name(chooser: Generator, chosen: dict[str, str], begin: list[int]) -> None:
    prompts = drawn_prompts(TRANSLATOR, [5, 2])
    found = chooser.generate(inputs_of(TRANSLATOR, prompts), GenerateOptions(6, begin=chosen))
    for row, prompt in enumerate(prompts):
        answer: list[int] = []
        while len(answer) < 6 and not set(answer) & set(STOP):
            answer.append(int(logits_of(TRANSLATOR, begin + answer, prompt)[-1].argmax()))
        assert found.row(row) == answer


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"language": "dee"}, 'begin: got language "dee"; did you mean de[?] available: de, fr'),
        ({"tongue": "de"}, 'begin: got "tongue", no choice of this model; it has language, task'),
    ],
)
def test_a_choice_that_is_not_there_is_refused(chooser: Generator, chosen: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        chooser.generate(inputs_of(TRANSLATOR, [[5]]), GenerateOptions(begin=chosen))


def test_choices_are_names(chooser: Generator) -> None:
    with pytest.raises(UsageError, match="begin: got 6, expected names"):
        GenerateOptions(begin=6)  # type: ignore[arg-type]


def test_the_bundles_defaults_stand_where_nothing_is_said(folder: Path) -> None:
    defaults = {"max_new": 7, "min_new": 2, "sample": {"temperature": 0.5, "top_k": 4}, "repetition_penalty": 1.2}
    with opened(folder, WRITER, "defaults", defaults=defaults) as generator:
        settings = generator.settings()
        assert settings.sample == Sample(0.5, 4) and settings.most == (7, None) and settings.fewest(3) == 2
        assert generator.settings(GenerateOptions(sample=Sample(seed=3, top_k=9))).sample == Sample(0.5, 9, seed=3)
        assert generator.settings(GenerateOptions(sample=False)).sample is None
        assert generator.settings(GenerateOptions(beams=2)).sample is None
        asked = generator.settings(GenerateOptions(20, min_length=0, repetition_penalty=1.0, sample=False))
        assert (asked.most, asked.least, asked.repetition_penalty) == ((20, None), (0, 0), 1.0)
        inputs = inputs_of(WRITER, drawn_prompts(WRITER, [4]))
        drawn = [generator.generate(inputs, GenerateOptions(sample=Sample(seed=seed))).row(0) for seed in range(6)]
        assert len({tuple(each) for each in drawn}) > 1 and all(2 <= len(each) <= 7 for each in drawn)


def test_a_prompt_that_fills_the_default_length_is_told(folder: Path) -> None:
    with opened(folder, WRITER, "short", defaults={"max_length": 5}) as generator:
        inputs = inputs_of(WRITER, drawn_prompts(WRITER, [5, 3]))
        with pytest.raises(
            InputError, match=r"a prompt of 5 tokens; rows of this model have up to 5 by default.*give max_length"
        ):
            generator.check(inputs)
        with pytest.raises(InputError, match="by default"):
            generator.generate(inputs)
        assert generator.generate(inputs, GenerateOptions(2, stop=())).lengths.tolist() == [2, 2]


def test_a_rule_that_leaves_no_token_is_told(folder: Path) -> None:
    with opened(folder, WRITER, "none_left", stop=[]) as generator:
        inputs = inputs_of(WRITER, drawn_prompts(WRITER, [3]))
        for beams in (1, 2):
            with pytest.raises(
                UsageError, match=r"the rules leave row 0 no token to choose at step 1\d .*no_repeat_ngram 1"
            ):
                generator.generate(inputs, GenerateOptions(beams=beams, no_repeat_ngram=1))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"suppress": [13]}, "suppress is token 13, the graphs have 13 tokens"),
        ({"begin": [2, 99]}, "begin is token 99"),
        ({"choices": {"to": {"place": 3, "tokens": {"de": 5}}}}, 'choice "to" has place 3, and begin 1 tokens'),
        ({"choices": {name: {"place": 0, "tokens": {"b": 5}} for name in "ac"}}, "two choices have one place"),
        ({"suppress": [4], "forced_end": [4]}, "forced_end and suppress have token 4 both"),
        ({"begin": [2] * 41}, r"begin has 41 tokens, graph first reads 1\.\.40"),
        ({"defaults": {"beams": 2, "sample": {}}}, "defaults have 2 beams and sample"),
        ({"defaults": {"beams": 0}}, r"defaults.beams: got 0, expected at least 1"),
        ({"defaults": {"max_tokens": 3}}, 'unknown key "max_tokens"'),
    ],
)  # fmt: skip
def test_rules_that_do_not_fit_the_graphs_are_refused(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        opened(tmp_path, TRANSLATOR, "bad", **keys).close()


# --- one place for all rows ---------------------------------------------------------------------------------------


def one_place(path: Path, tiny: Tiny, **asset: Any) -> Path:
    """The bundle of a model whose rows all stand at one place: its step has a position [1, 1]."""
    write_bundle(path, tiny, generation=asset_of(tiny) | asset)
    model = onnx.load(path / "step.onnx")
    (position,) = [value for value in model.graph.input if value.name == "position"]
    size = position.type.tensor_type.shape.dim[0]
    size.Clear()
    size.dim_value = 1
    onnx.save(model, path / "step.onnx")
    manifest = json.loads((path / "manifest.json").read_text())
    (spec,) = [each for each in manifest["graphs"]["step"]["inputs"] if each["name"] == "position"]
    spec["dims"][0] = dict(spec["dims"][1])
    (path / "manifest.json").write_text(json.dumps(manifest))
    rehash(path)
    return path


def test_rows_may_share_one_position(tmp_path: Path, folder: Path) -> None:
    bundle = Bundle.open(one_place(tmp_path / "one.attn", TRANSLATOR, begin=[2, 7]))
    assert GraphIO.of(bundle).one_place and GraphIO.of(bundle).most_rows == TRANSLATOR.batch
    inputs = inputs_of(TRANSLATOR, drawn_prompts(TRANSLATOR, [5, 3, 7]))
    with open_generator(bundle, "cpu", threads=1) as one, opened(folder, TRANSLATOR, "each", begin=[2, 7]) as each:
        for options in (GenerateOptions(20), GenerateOptions(20, beams=3)):
            np.testing.assert_array_equal(one.generate(inputs, options).tokens, each.generate(inputs, options).tokens)


def test_prompts_of_two_lengths_do_not_share_one_position(tmp_path: Path) -> None:
    bundle = Bundle.open(one_place(tmp_path / "one.attn", WRITER))
    with open_generator(bundle, "cpu", threads=1) as generator:
        alike = drawn_prompts(WRITER, [4, 4])
        assert generator.generate(inputs_of(WRITER, alike), GenerateOptions(3)).steps == 3
        with pytest.raises(InputError, match=r"prompts of 3\.\.5 tokens; all rows of this model stand at one place"):
            generator.generate(inputs_of(WRITER, drawn_prompts(WRITER, [5, 3])))
