"""The rules of the reference: what they make of scores, against transformers; answers of the runtime come to the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from attn_models import reference_generation
from attn_models.reference_rules import ReferenceRules, begin_of
from attn_models.spec import GenerationSpec
from attn_runtime.errors import UsageError
from attn_runtime.generate import GenerateOptions, open_generator
from support.models.tiny_generators import Tiny, asset_of, drawn_prompts, inputs_of, logits_of, write_bundle

ASSET: dict[str, Any] = {"begin": None, "stop": [1, 4], "pad": 0}
CASES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"defaults": {"repetition_penalty": 1.7}}, {"repetition_penalty": 1.7}),
    ({"defaults": {"no_repeat_ngram": 2}}, {"no_repeat_ngram_size": 2}),
    ({"defaults": {"no_repeat_ngram": 1}}, {"no_repeat_ngram_size": 1}),
    ({"defaults": {"min_new": 6}}, {"min_new_tokens": 6}),
    ({"defaults": {"min_length": 8}}, {"min_length": 8}),
    ({"suppress": [3, 7]}, {"suppress_tokens": [3, 7]}),
    ({"suppress_first": [5, 6]}, {"begin_suppress_tokens": [5, 6]}),
    ({"encoder_no_repeat_ngram": 2}, {"encoder_no_repeat_ngram_size": 2}),
    ({"forced_end": [4]}, {"forced_eos_token_id": 4}),
]


@pytest.mark.parametrize(("ours", "theirs"), CASES)
@pytest.mark.parametrize("written", [0, 4, 7])
def test_scores_become_what_transformers_makes_of_them(ours: Any, theirs: Any, written: int) -> None:
    transformers = pytest.importorskip("transformers")
    rng = np.random.default_rng(written)
    rows = rng.integers(2, 13, (4, 3 + written)).tolist()
    scores = torch.from_numpy(rng.standard_normal((4, 13)).astype(np.float32))
    config = transformers.GenerationConfig(max_length=11, eos_token_id=[1, 4], **theirs)
    config._eos_token_tensor = torch.tensor([1, 4])
    model = type("Model", (transformers.GenerationMixin,), {"config": transformers.PretrainedConfig()})()
    sources = rng.integers(2, 13, (4, 40)).tolist()
    processors = model._get_logits_processor(config, input_ids_seq_length=3, encoder_input_ids=torch.tensor(sources))
    expected = processors(torch.tensor(rows), scores)
    rules = ReferenceRules.of(ASSET | ours)
    assert rules.any
    halves = [r[:3] for r in rows], [r[3:] for r in rows]
    found = rules.of_rows(scores, *halves, [8] * 4, torch.ones(4, dtype=torch.bool), sources)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_begin_is_one_token_or_several() -> None:
    assert begin_of({"begin": None}) == [] and begin_of({"begin": 2}) == [2] and begin_of({"begin": [2, 5]}) == [2, 5]
    counted = {"begin": [2, 5], "stop": [1], "begin_uncounted": 1}
    assert ReferenceRules.of(counted).counted == 1 and ReferenceRules.of({"begin": [2, 5], "stop": [1]}).counted == 0


RULES = {
    "suppress": [3],
    "suppress_first": [5],
    "forced_end": [1],
    "encoder_no_repeat_ngram": 2,
    "defaults": {"repetition_penalty": 1.3, "no_repeat_ngram": 2, "min_new": 4},
}


@pytest.mark.parametrize("encoder", [True, False])
def test_the_runtime_writes_what_the_reference_does(tmp_path: Any, encoder: bool) -> None:
    tiny = Tiny(encoder=encoder, sharpness=1.0, batch=32, stop=(1, 4), seed=3, layers=1)
    asset = asset_of(tiny) | RULES
    if encoder:
        asset |= {"begin": [2, 7], "begin_uncounted": 1}

    def logits(module: Any, prompt: Any, tokens: torch.Tensor) -> torch.Tensor:
        source = (
            [prompt["source"][n, prompt["source_mask"][n]].tolist() for n in range(len(tokens))] if prompt else None
        )
        rows = [logits_of(tiny, row, source[n] if source else ()) for n, row in enumerate(tokens.tolist())]
        return torch.from_numpy(np.stack(rows)).float()

    spec = GenerationSpec(asset, logits, lambda seed: [])
    inputs = inputs_of(tiny, drawn_prompts(tiny, [5, 3, 7]))
    prompt = {name: torch.from_numpy(value) for name, value in inputs.items()}
    module = torch.nn.Identity()
    with open_generator(write_bundle(tmp_path / "t.attn", tiny, generation=asset), "cpu", threads=1) as generator:
        for beams in (1, 3):
            if beams == 1:
                expected = reference_generation.greedy(module, spec, prompt, 9, 2.0)
            else:
                expected = reference_generation.beam(module, spec, prompt, beams, 2.0, 9)
            found = generator.generate(inputs, GenerateOptions(9, beams, 2.0, scores=True))
            assert [found.row(n) for n in range(3)] == [
                row[:length].tolist() for row, length in zip(expected.tokens, expected.lengths, strict=True)
            ]
            np.testing.assert_allclose(found.scores, expected.scores.numpy(), rtol=1e-4)
            followed = generator.follow(inputs, found.tokens, found.lengths, 2.0, 9)
            np.testing.assert_allclose(followed.scores, found.scores, rtol=1e-4)
            assert beams > 1 or (followed.behind.max() == 0 and (followed.own == found.lengths).all())


def test_rules_that_leave_no_token_are_told() -> None:
    def logits(module: Any, prompt: Any, tokens: torch.Tensor) -> torch.Tensor:
        return torch.zeros(*tokens.shape, 5)

    asset = ASSET | {"encoder": None, "max_length": 20, "stop": [], "defaults": {"no_repeat_ngram": 1}}
    spec = GenerationSpec(asset, logits, lambda seed: [])
    prompt = {"tokens": torch.tensor([[2, 3]])}
    for call in (reference_generation.greedy, lambda *given: reference_generation.beam(*given[:3], 2, 1.0, given[3])):
        with pytest.raises(UsageError, match="leave no token to choose"):
            call(torch.nn.Identity(), spec, prompt, 12)
