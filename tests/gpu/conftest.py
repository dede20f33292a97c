"""Tests that need a GPU; skipped elsewhere, with the reason that the backend itself gives."""

import pytest
from attn_runtime.backends import ort


@pytest.fixture(autouse=True)
def gpu() -> None:
    reason = ort.why_unavailable() or ort.why_not("cuda")
    if reason:
        pytest.skip(f"no GPU here: {reason}")
