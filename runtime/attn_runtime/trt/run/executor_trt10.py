"""An `Executor` by TensorRT 10.3+, 11 or TensorRT-RTX. Each method is one or two calls; what needs thought lies elsewhere.

The library answers None or False where it fails and tells why in its log: every answer is checked here. A GPU must be
known to be there before any of it is called (`attn_runtime.device.gpus.why_not`): without a driver some versions crash.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from ...errors import BackendError, EngineError
from ...spec import DTYPES
from .. import Library, Profile, collector_paused
from .executor import Grows, IoTensor, Shape

#: TensorRT's DataType names -> numpy's dtype names
_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT64": "int64", "INT32": "int32", "INT8": "int8", "UINT8": "uint8", "BOOL": "bool",
}  # fmt: skip


class LibraryExecutor:
    """See `Executor`. `where` names the engine in messages.

    `cache`, RTX only, is what `cache_bytes` gave in an earlier process: the kernels that RTX compiled on this machine.
    What another GPU, driver or version wrote is ignored by the library, and by us.
    """

    def __init__(
        self, library: Library, plan: bytes, where: str, cuda_graph: bool = False, cache: bytes | None = None
    ) -> None:
        trt = library.api
        self._trt, self._where, self._cuda_graph = trt, where, cuda_graph
        self._log = _logger(trt)
        with collector_paused():
            self._runtime: Any = trt.Runtime(self._log)
            self._engine: Any = self._runtime.deserialize_cuda_engine(plan) if self._runtime is not None else None
        if self._engine is None:
            raise EngineError(
                f"{where}: {library.name} {library.version} can't load it: {self._reason()}. Build it again here."
            )
        self.tensors = tuple(map(self._tensor, range(self._engine.num_io_tensors)))
        self.profiles = tuple(map(self._profile, range(self._engine.num_optimization_profiles)))
        self.scratch_bytes = self._scratch_bytes()
        self.captures_itself = cuda_graph and hasattr(trt, "CudaGraphStrategy")
        self._cache: Any = self._open_cache(cache)
        self._creating = threading.Lock()

    def create_context(self, profile: int, stream: int, scratch: int) -> LibraryContext:
        with self._creating:
            return self._create_context(profile, stream, scratch)

    def _scratch_bytes(self) -> int:
        return int(self._engine.device_memory_size_v2)

    def _create_context(self, profile: int, stream: int, scratch: int) -> LibraryContext:
        # Scratch memory of ours: it is counted, and the contexts of one stream share it.
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        config = self._engine.create_runtime_config() if self._is_rtx() else None
        if config is None:
            context = self._engine.create_execution_context(strategy)
        else:
            config.set_execution_context_allocation_strategy(strategy)
            # A shape's own kernels before its first answer, instead of slow ones first and a jump in latency later.
            config.dynamic_shapes_kernel_specialization_strategy = (
                self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
            )
            if self._cuda_graph:
                config.cuda_graph_strategy = self._trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            if self._cache is not None:
                config.set_runtime_cache(self._cache)
            context = self._engine.create_execution_context(config)
        if context is None:
            raise BackendError(f"{self._where}: TensorRT makes no execution context: {self._reason()}")
        if self.scratch_bytes:
            context.set_device_memory(scratch, self.scratch_bytes)
        if context.active_optimization_profile != profile:
            self._check(context.set_optimization_profile_async(profile, stream), f"take profile {profile}")
        return LibraryContext(self._trt, context, self.tensors, self._check, config)

    def cache_bytes(self) -> bytes | None:
        """RTX: every kernel compiled so far, for `cache` of the next process. None where there is nothing to keep."""
        kept = self._cache.serialize() if self._cache is not None else None
        return bytes(memoryview(kept)) if kept is not None else None

    def close(self) -> None:
        # In this order: each needs the next one.
        self._cache = None
        self._engine = None
        self._runtime = None

    def _tensor(self, number: int) -> IoTensor:
        engine, trt = self._engine, self._trt
        name = engine.get_tensor_name(number)
        dtype = _DTYPES.get(engine.get_tensor_dtype(name).name)
        if dtype not in DTYPES:
            told = engine.get_tensor_dtype(name).name
            raise BackendError(
                f'{self._where}: tensor "{name}" is {told}; sessions take {", ".join(sorted(_DTYPES.values()))}'
            )
        return IoTensor(
            name,
            dtype,
            tuple(engine.get_tensor_shape(name)),
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            engine.get_tensor_location(name) == trt.TensorLocation.HOST,
        )

    def _profile(self, number: int) -> Profile:
        found = {}
        for tensor in self.tensors:
            if tensor.is_input and -1 not in tensor.shape:
                # It may be left out of a profile, and then has shapes there that are none.
                found[tensor.name] = (tensor.shape,) * 3
            elif tensor.is_input:
                low, opt, high = (tuple(d) for d in self._engine.get_tensor_profile_shape(tensor.name, number))
                found[tensor.name] = (low, opt, high)
        return found

    def _is_rtx(self) -> bool:
        # TensorRT 10.13 and 11 have a runtime config too, but none of what is set in it here.
        return hasattr(self._trt, "DynamicShapesKernelSpecializationStrategy")

    def _open_cache(self, earlier: bytes | None) -> Any:
        if not self._is_rtx():
            return None
        cache = self._engine.create_runtime_config().create_runtime_cache()
        if cache is not None and earlier:
            cache.deserialize(
                earlier
            )  # False is for a cache of another machine or version: it stays empty, and is replaced
        return cache

    def _check(self, done: bool, what: str) -> None:
        if not done:
            raise BackendError(f"{self._where}: TensorRT does not {what}: {self._reason()}")

    def _reason(self) -> str:
        said = "; ".join(self._log.errors)
        return said or "it does not say why"


class LibraryContext:
    """See `Context`."""

    def __init__(
        self, trt: Any, context: Any, tensors: tuple[IoTensor, ...], check: Callable[[bool, str], None], config: Any
    ) -> None:
        self._trt, self._context, self._check = trt, context, check
        self._config = config  # the context does not keep it
        self._outputs = [tensor.name for tensor in tensors if not tensor.is_input]
        self._growing: dict[str, Any] = {}

    def set_shape(self, name: str, shape: Shape) -> None:
        self._check(self._context.set_input_shape(name, shape), f"take {list(shape)} for input {name}")

    def set_address(self, name: str, address: int) -> None:
        self._check(self._context.set_tensor_address(name, address), f"take address {address:#x} for {name}")

    def set_growing(self, name: str, memory: Grows) -> None:
        self._growing[name] = allocator = _allocator(self._trt, memory)  # the library keeps no reference
        self._check(self._context.set_output_allocator(name, allocator), f"take an allocator for {name}")

    def infer(self) -> dict[str, Shape]:
        missing = self._context.infer_shapes()
        self._check(not missing, f"know the shapes of {', '.join(missing)}")
        return {name: tuple(self._context.get_tensor_shape(name)) for name in self._outputs}

    def enqueue(self, stream: int) -> None:
        done = self._context.execute_async_v3(stream)
        for allocator in self._growing.values():
            if allocator.error is not None:  # it could not be raised through the library
                raise allocator.error
        self._check(done, "run the engine")

    def grown_shape(self, name: str) -> Shape:
        shape: Shape = self._growing[name].shape
        return shape

    def why_not_capturable(self, stream: int) -> str | None:
        if hasattr(self._context, "is_stream_capturable") and not self._context.is_stream_capturable(stream):
            return "the engine can't be captured in a CUDA graph"
        return None

    def close(self) -> None:
        self._context = None
        self._config = None
        self._growing.clear()


def _logger(trt: Any) -> Any:
    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps the last errors. The library takes the first logger of a process for good; then these stay empty."""

        def __init__(self) -> None:
            super().__init__()
            self.errors: deque[str] = deque(maxlen=3)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split())[:300])

    return Log()


def _allocator(trt: Any, memory: Grows) -> Any:
    class Allocator(trt.IOutputAllocator):  # type: ignore[misc]
        """Called inside `enqueue`. What it raises would be printed and lost, so it is kept."""

        def __init__(self) -> None:
            super().__init__()
            self.shape: Shape = ()
            self.error: Exception | None = None

        def reallocate_output(self, name: str, current: int, nbytes: int, alignment: int) -> int:
            try:
                self.error = None
                return memory.at_least(nbytes)
            except Exception as error:
                self.error = error
                return 0

        def reallocate_output_async(self, name: str, current: int, nbytes: int, alignment: int, stream: int) -> int:
            return self.reallocate_output(name, current, nbytes, alignment)

        def notify_shape(self, name: str, shape: Any) -> None:
            self.shape = tuple(shape)

    return Allocator()
