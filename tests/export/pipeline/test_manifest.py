"""What the manifest says of its making."""

from __future__ import annotations

import attn_runtime
import pytest
from attn_export.pipeline.manifest import versions


def test_both_packages_are_told_by_the_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attn_runtime, "__version__", "9.8.7")
    told = versions({"onnx": "1.2.3"})
    assert told["attn-export"] == told["attn-runtime"] == "9.8.7" and told["onnx"] == "1.2.3" and "numpy" in told
