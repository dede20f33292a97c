"""What of a GPU and its libraries is here: None, or the reason why tests of it are skipped."""

from __future__ import annotations

from attn_runtime.device import cuda_device, gpus
from attn_runtime.trt import library_choice


def why_no_device() -> str | None:
    """None where the device layer works: a driver, a GPU, cuda-python."""
    return gpus.why_not("cuda") or cuda_device.why_unavailable()


def why_no_library(name: str) -> str | None:
    """None where this flavour of TensorRT builds engines and runs them."""
    return why_no_device() or library_choice.why_not(name) or library_choice.why_no_run(name)
