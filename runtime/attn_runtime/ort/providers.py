"""Whether an execution provider of ONNX Runtime really loads: it lists those it was built with, loading or not.

The functions take the imported onnxruntime module, since only backends/ort.py imports it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import sys
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from ..lazy import dataclass

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"

# The providers that live in a library of their own, and what brings the libraries which that one needs.
_LIBRARIES = {
    CUDA: ("onnxruntime_providers_cuda", "pip install 'onnxruntime-gpu[cuda,cudnn]', or CUDA and cuDNN on the system"),
    TENSORRT: (
        "onnxruntime_providers_tensorrt",
        "ONNX Runtime's wheels are built for TensorRT 10: pip install 'tensorrt<11' 'onnxruntime-gpu[cuda,cudnn]'",
    ),
}
_REPLACE = "pip uninstall -y onnxruntime && pip install onnxruntime-gpu (on Jetson: NVIDIA's wheel for its JetPack)"


@dataclass(frozen=True)
class ProviderState:
    """`problem` is None when the provider loads; `listed` is what onnxruntime says of itself."""

    name: str
    listed: bool
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "loads": self.problem is None}


class GraphIds(NamedTuple):
    """How a provider keeps the CUDA graphs of one session apart.

    option    the run option that numbers them; None where the provider keeps one graph and replays it whatever it is given
    skip      the number of a run that is neither captured nor replayed; None where the provider sees to that itself
    """

    option: str | None
    skip: int | None = None


def provider_states(onnxruntime: Any) -> list[ProviderState]:
    """Every provider of note: the listed ones, and CUDA and TensorRT where they are not."""
    listed = onnxruntime.get_available_providers()
    names = [*listed, *(name for name in (CUDA, TENSORRT) if name not in listed)]
    return [ProviderState(name, name in listed, why_provider_fails(onnxruntime, name)) for name in names]


def why_provider_fails(onnxruntime: Any, name: str) -> str | None:
    """None when the provider's libraries load in this process, else the reason and what to install."""
    if name not in onnxruntime.get_available_providers():
        return f"this onnxruntime ({onnxruntime.__version__}) is built without {name}; {_REPLACE}"
    if name not in _LIBRARIES:
        return None
    library, advice = _LIBRARIES[name]
    problem = _why_library_fails(onnxruntime, library)
    return f"{name} does not load: {problem}; {advice}" if problem else None


@cache
def _why_library_fails(onnxruntime: Any, library: str) -> str | None:
    # Finds CUDA and cuDNN in pip's nvidia-* packages; old versions lack it, and it prints what it does not find.
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(OSError):
            onnxruntime.preload_dlls()
    if library == _LIBRARIES[TENSORRT][0]:
        # It looks for TensorRT in pip's package nowhere; importing that loads its libraries, found by name from then on.
        with contextlib.suppress(Exception):
            importlib.import_module("tensorrt_libs")
    folder = Path(onnxruntime.__file__).parent / "capi"
    pattern = "{}.dll" if sys.platform == "win32" else "lib{}.so"
    try:
        # The provider's library takes symbols from the shared one and does not name it.
        ctypes.CDLL(str(folder / pattern.format("onnxruntime_providers_shared")), ctypes.RTLD_GLOBAL)
        ctypes.CDLL(str(folder / pattern.format(library)))
    except OSError as error:
        return " ".join(str(error).split())
    return None
