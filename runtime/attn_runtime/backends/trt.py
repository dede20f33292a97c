"""A compiled TensorRT engine on an NVIDIA GPU, TensorRT-RTX's or TensorRT's, whichever fits.

Nothing is built here: a build takes minutes, and belongs to `attn-run compile`. Where no engine fits, the reason names
the fields that differ and the command that builds one.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from ..device import gpus
from ..interface import GraphFile, OpenOptions

if TYPE_CHECKING:
    from ..trt.run import EnginePool

ABOUT = "a compiled TensorRT or TensorRT-RTX engine on an NVIDIA GPU"
AUTOMATIC = True
#: Before the others: an engine that fits was built for this very GPU.
RANK = -1


def why_unavailable() -> str | None:
    """None when a flavour of TensorRT and cuda-python are installed. Loads neither: `why_not` does, after the driver."""
    if not any(importlib.util.find_spec(module) for module in ("tensorrt", "tensorrt_rtx")):
        return (
            "neither tensorrt nor tensorrt_rtx is installed; pip install tensorrt-rtx-cu13 cuda-python (RTX cards), or "
            "tensorrt cuda-python"
        )
    from ..device import cuda_device

    return cuda_device.why_unavailable()


def why_not(device: str) -> str | None:
    """None when a GPU is there and a flavour runs on it, else the reason. The driver first: without it some versions crash."""
    if device == "cpu":
        return "TensorRT engines run on an NVIDIA GPU; take device cuda"
    if reason := gpus.why_not(device):
        return reason
    from ..trt import library, library_choice

    reasons = [library_choice.why_no_run(name, gpus.device_number(device)) for name in library.names()]
    return "; ".join(reason for reason in reasons if reason) if all(reasons) else None


def open(graph: GraphFile, device: str, options: OpenOptions) -> EnginePool:
    """Open the engine that fits this machine. BackendError where there is none, EngineError where it is damaged."""
    from ..trt.run import open_runner

    return open_runner(graph, device, options)
