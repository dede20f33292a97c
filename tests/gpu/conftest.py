"""Tests that need a GPU; skipped elsewhere, with the reason that the backend itself gives."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "data"))  # the tests' import mode adds no folder of its own

from attn_runtime.backends import ort, trt
from attn_runtime.cuda import compute_capability
from attn_runtime.trt import flavour, flavour_choice
from attn_runtime.trt.network import capabilities


@pytest.fixture(autouse=True, scope="module")  # before a module's own fixtures export anything
def gpu(request: pytest.FixtureRequest) -> None:
    """test_trt_*.py need the trt backend, all others ONNX Runtime's CUDA provider."""
    backend = trt if request.path.name.startswith("test_trt_") else ort
    reason = backend.why_unavailable() or backend.why_not("cuda")
    if reason:
        pytest.skip(f"no GPU here: {reason}")


@pytest.fixture(params=flavour.names())
def library(request: pytest.FixtureRequest, gpu: None) -> str:
    """Each flavour of TensorRT that builds and runs here."""
    name = str(request.param)
    reason = flavour_choice.why_not(name)
    if reason:
        pytest.skip(reason)
    here = compute_capability(0)
    if name == "rtx" and here not in (known := capabilities(flavour.load(name))):
        pytest.skip(f"rtx runs on compute capability {', '.join(known)}; this GPU has {here}")
    return name
