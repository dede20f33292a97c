"""scripts/bench/user/requests.py: requests and batches write the same tokens, and both are timed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.models.tiny_generators import Tiny, write_bundle
from user import requests
from user.row import Asked


def test_requests_are_measured_beside_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_bundle(tmp_path / "lm.attn", Tiny(encoder=False, layers=1, max_length=72, batch=64, stop=()))
    monkeypatch.setattr(requests, "bundle_of", lambda *_: bundle)
    monkeypatch.setattr(requests, "REQUESTS", 12)
    rate, first, full = requests.measure(Asked(True, 1, tmp_path, tmp_path, False))
    assert (rate.unit, first.unit) == ("tokens/s", "ms") and rate.cell.startswith("lm, 12 requests, 4..")
    assert rate.peer is not None and first.peer is not None and first.ours < 60_000
    assert (full.ours, full.unit, full.goal) == (rate.ours, "tokens/s", None) and full.peer is not None


def test_what_is_computed_behind_an_answer_does_not_count() -> None:
    ask = requests.Ask(1.0, requests.np.zeros((1, 4)), 2)
    for token, now in ((7, 1.5), (8, 2.0), (9, 3.0)):
        ask.take(token, now)
    assert (ask.tokens, ask.first, ask.last) == ([7, 8], 1.5, 2.0)
    assert requests.figures([ask]) == (2.0, 0.5)
