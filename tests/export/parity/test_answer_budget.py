"""PyTorch's answers without a cache are kept to a minute, and prove something however slow a forward is."""

from __future__ import annotations

import pytest
from attn_export.console import Console
from attn_export.parity import generation
from attn_export.parity.answer_budget import SECONDS, USUAL, AnswerBudget, affordable
from attn_export.source.resolve import load_source


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
