"""PyTorch's answers without a cache are kept to a minute, and prove something however slow a forward is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from attn_export.console import Console
from attn_export.parity import generation
from attn_export.parity.answer_budget import SECONDS, USUAL, AnswerBudget, affordable
from attn_export.source.resolve import load_source
from support.models.small_generators import Writer
from torch import Tensor, nn


def test_a_fast_model_writes_all_that_is_usual() -> None:
    assert affordable(1e-4) == USUAL == AnswerBudget(candidates=16, rows=6, tokens=32, beams=4)


def test_a_slower_model_writes_less_in_a_minute() -> None:
    before = USUAL
    for seconds in (0.02, 0.05, 0.1, 0.3):
        found = affordable(seconds)
        assert found.forwards * seconds <= SECONDS and found.forwards <= before.forwards
        before = found


def test_the_slowest_still_writes_to_two_prompts() -> None:
    found = affordable(1e3)
    assert (found.candidates, found.rows, found.beams) == (2, 2, 1) and found.tokens > 1


def test_what_was_saved_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(generation, "_seconds", lambda *_: 0.3)
    loaded = load_source("support.models.small_generators:lm")
    (case,) = generation.write_cases(loaded, loaded.tolerance, 0, Console())
    assert case.max_length == 12 and len(case.prompts) == 3
    assert len({p["tokens"].shape[1] for p in case.prompts}) > 1, "a batch that has padding"
    told = " ".join(capsys.readouterr().err.split())
    assert "kept to about 60 s: up to 12 tokens to 3 prompts, greedily and not with beams" in told


@pytest.mark.parametrize(("off", "used"), [(0.0, True), (1e-3, False)])
def test_an_encoder_is_read_once_where_that_answers_the_same(off: float, used: bool) -> None:
    loaded = load_source("support.models.small_generators:translator", config=["layers=1"])
    spec = loaded.generation
    assert spec is not None
    read: list[int] = []

    def once(module: nn.Module, prompt: Mapping[str, Tensor]) -> dict[str, Tensor]:
        assert isinstance(module, Writer)
        read.append(len(prompt["source"]))
        return {"memory": module.memory(prompt["source"], prompt["source_mask"]) + off, **prompt}

    def logits(module: nn.Module, prompt: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        assert isinstance(module, Writer)
        memory = prompt["memory"] if "memory" in prompt else module.memory(prompt["source"], prompt["source_mask"])
        return module(tokens, memory, prompt["source_mask"])[0]  # type: ignore[no-any-return]

    expected = generation.write_cases(loaded, loaded.tolerance, 0, Console(True))
    told = replace(loaded, generation=replace(spec, read=once, logits=logits))
    found = generation.write_cases(told, loaded.tolerance, 0, Console(True))
    assert [case.answer.tokens.tolist() for case in found] == [case.answer.tokens.tolist() for case in expected]
    # To find out, for the budget, for the batch of both cases and for each row of them alone.
    assert (len(read) > 10) is used and read[0] == 2
