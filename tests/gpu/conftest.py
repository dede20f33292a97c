"""Tests that need a GPU; skipped elsewhere, with the reason that the backend itself gives."""

from __future__ import annotations

from typing import Any

import pytest
from attn_runtime.backends import ort, trt
from attn_runtime.trt import library as flavour
from support.machines.gpu_here import why_no_device, why_no_library


@pytest.fixture(autouse=True, scope="module")  # before a module's own fixtures export anything
def gpu(request: pytest.FixtureRequest) -> None:
    """test_trt_*.py need the trt backend, test_cuda.py ONNX Runtime's CUDA provider, the others the device alone."""
    if request.path.name.startswith("test_trt_"):
        reason = trt.why_unavailable() or trt.why_not("cuda")
    elif request.path.name == "test_cuda.py":
        reason = ort.why_unavailable() or ort.why_not("cuda")
    else:
        reason = why_no_device()
    if reason:
        pytest.skip(f"no GPU here: {reason}")


@pytest.fixture(params=flavour.names())
def library(request: pytest.FixtureRequest, gpu: None) -> str:
    """Each flavour of TensorRT that builds and runs here."""
    if reason := why_no_library(str(request.param)):
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture
def torch_with_cuda() -> Any:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip(f"torch {torch.__version__} has no CUDA")
    return torch
