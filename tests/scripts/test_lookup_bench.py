"""scripts/bench/user/lookup.py on a small bundle: what is asked, and that other tokens fail the run."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime.generate import Generated
from support.models.tiny_generators import Tiny, write_bundle
from user import lookup

WORDS = 200


def circle() -> np.ndarray:
    return np.roll(np.arange(WORDS), -1)  # of each token the next one, of the last one the first


def test_prompts_say_as_much_of_the_answer_as_they_should() -> None:
    told = {case.cell: case.prompts for case in lookup.cases("m", circle())}
    assert len(told) == 10 and all(
        prompts.shape == (int(cell.split()[-2]), lookup.PROMPT) for cell, prompts in told.items()
    )

    def shown(prompt: list[int]) -> float:
        """The share of the answer's tokens that stand in the prompt behind the one that they follow."""
        pairs = set(itertools.pairwise(prompt))
        answer = [(prompt[-1] + n) % WORDS for n in range(lookup.NEW + 1)]
        return sum(pair in pairs for pair in itertools.pairwise(answer)) / lookup.NEW

    shares = {cell: min(shown(row.tolist()) for row in prompts) for cell, prompts in told.items() if "8 rows" in cell}
    assert [round(share, 1) for share in shares.values()] == [1.0, 0.8, 0.3, 0.0, 0.0]


def test_rates_are_told_and_other_tokens_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = Tiny(encoder=False, extend=True, vocabulary=WORDS, layers=1, max_length=176)
    monkeypatch.setattr(lookup, "LOOKUP", 7)  # its graph takes eight tokens
    bundle = write_bundle(tmp_path / "tiny.attn", tiny)
    works = [replace(case, new=24) for case in lookup.cases("m", circle())[:2]]
    rows = lookup.of_generator(bundle, works, 1)
    assert [row.cell for row in rows] == [work.cell for work in works]
    assert all(row.ratio and "guessed" in row.note and row.beside == "without lookup" for row in rows)

    monkeypatch.setattr("attn_runtime.generate.greedy.Guessed.result", _spoilt)
    with pytest.raises(RuntimeError, match="other tokens with guesses than without"):
        lookup.of_generator(bundle, works, 1)


def _spoilt(guessed: Any, scores: Any, seconds: float) -> Any:
    tokens = np.array(guessed.rows, np.int64) + 1
    return Generated(tokens, guessed.lengths, None, tuple(guessed.stopped), tokens.shape[1], seconds, 0, 0)
