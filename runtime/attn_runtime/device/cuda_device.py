"""A `Device` by cuda-python (12.6 or newer). Each method is one CUDA call; what needs thought lies elsewhere.

No GPU is needed to import it or to make it wrong: tests hold every call against the signatures of the installed module.
"""

from __future__ import annotations

import importlib.util
from importlib.machinery import PathFinder
from typing import Any

from ..errors import BackendError
from .interface import ALIGNMENT, DLPACK_CUDA


def why_unavailable() -> str | None:
    """None when cuda-python can be imported, else the reason and what to install. Touches no driver."""
    try:
        above = importlib.util.find_spec("cuda.bindings")
    except ImportError:  # the package above that is missing
        above = None
    # Asked for by its whole name, all of cuda.bindings would be imported to find it.
    found = above is not None and PathFinder.find_spec("cuda.bindings.runtime", above.submodule_search_locations)
    return None if found else "cuda-python is not installed; pip install 'cuda-python>=12.6'"


class CudaDevice:
    """See `Device`. Ask `attn_runtime.device.gpus.why_not` first: without a driver the first call raises BackendError."""

    dlpack_type = DLPACK_CUDA

    def __init__(self, number: int) -> None:
        from cuda.bindings import runtime

        self.number, self.name = number, f"cuda:{number}"
        self._cuda: Any = runtime
        self._copy_kind = runtime.cudaMemcpyKind.cudaMemcpyDefault  # it knows from the addresses which way
        self.use()

    def use(self) -> None:
        self._do(self._cuda.cudaSetDevice, self.number)

    def allocate(self, nbytes: int) -> int:
        return int(self._do(self._cuda.cudaMalloc, max(nbytes, ALIGNMENT)))

    def free(self, address: int) -> None:
        self._do(self._cuda.cudaFree, address)

    def allocate_pinned(self, nbytes: int) -> int:
        return int(self._do(self._cuda.cudaHostAlloc, max(nbytes, ALIGNMENT), self._cuda.cudaHostAllocDefault))

    def free_pinned(self, address: int) -> None:
        self._do(self._cuda.cudaFreeHost, address)

    def create_stream(self) -> int:
        return int(self._do(self._cuda.cudaStreamCreateWithFlags, self._cuda.cudaStreamNonBlocking))

    def destroy_stream(self, stream: int) -> None:
        self._do(self._cuda.cudaStreamDestroy, stream)

    def synchronize(self, stream: int) -> None:
        self._do(self._cuda.cudaStreamSynchronize, stream)

    def create_event(self) -> int:
        return int(self._do(self._cuda.cudaEventCreateWithFlags, self._cuda.cudaEventDisableTiming))

    def destroy_event(self, event: int) -> None:
        self._do(self._cuda.cudaEventDestroy, event)

    def record(self, event: int, stream: int) -> None:
        self._do(self._cuda.cudaEventRecord, event, stream)

    def wait(self, stream: int, event: int) -> None:
        self._do(self._cuda.cudaStreamWaitEvent, stream, event, 0)

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        self._do(self._cuda.cudaMemcpyAsync, target, source, nbytes, self._copy_kind, stream)

    def copy_box(
        self,
        target: int,
        target_steps: tuple[int, int],
        source: int,
        source_steps: tuple[int, int],
        extent: tuple[int, int, int],
        stream: int,
    ) -> None:
        asked = self._cuda.cudaMemcpy3DParms()
        asked.dstPtr = self._pitched(target, target_steps, extent[0])
        asked.srcPtr = self._pitched(source, source_steps, extent[0])
        asked.extent = self._cuda.make_cudaExtent(*extent)
        asked.kind = self._copy_kind
        self._do(self._cuda.cudaMemcpy3DAsync, asked, stream)

    def _pitched(self, address: int, steps: tuple[int, int], nbytes: int) -> Any:
        # CUDA tells rows apart by how many pieces lie in one.
        return self._cuda.make_cudaPitchedPtr(address, steps[0], nbytes, steps[1] // steps[0])

    def clear(self, target: int, nbytes: int, stream: int) -> None:
        self._do(self._cuda.cudaMemsetAsync, target, 0, nbytes, stream)

    def begin_capture(self, stream: int) -> None:
        # Of this thread alone: another one may allocate meanwhile.
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._do(self._cuda.cudaStreamBeginCapture, stream, mode)

    def end_capture(self, stream: int) -> int:
        recorded = self._do(self._cuda.cudaStreamEndCapture, stream)
        try:
            return int(self._do(self._cuda.cudaGraphInstantiate, recorded, 0))
        finally:
            self._do(self._cuda.cudaGraphDestroy, recorded)

    def launch(self, graph: int, stream: int) -> None:
        self._do(self._cuda.cudaGraphLaunch, graph, stream)

    def destroy_graph(self, graph: int) -> None:
        self._do(self._cuda.cudaGraphExecDestroy, graph)

    def _do(self, call: Any, *arguments: Any) -> Any:
        """The one result of a call, None where it has none; every call answers (error, results...)."""
        try:
            error, *results = call(*arguments)
        except RuntimeError as missing:  # cuda-python 12 raises where it does not find the driver
            raise BackendError(f"{self.name}: {call.__name__} can't be called: {missing}") from missing
        if error != self._cuda.cudaError_t.cudaSuccess:
            _, text = self._cuda.cudaGetErrorString(error)
            raise BackendError(f"{self.name}: {call.__name__} answers {error.name} ({text.decode()})")
        return results[0] if results else None
