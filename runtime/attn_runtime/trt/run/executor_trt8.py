"""An `Executor` by TensorRT 8.6, which JetPack 6.0 has: other names for scratch memory of ours, and no int64."""

from __future__ import annotations

from typing import Any

from ...errors import BackendError
from .executor_trt10 import LibraryContext, LibraryExecutor


class OldExecutor(LibraryExecutor):
    """See `Executor`. Its contexts lie in memory of ours as well, asked for in 8's way."""

    def _scratch_bytes(self) -> int:
        return int(self._engine.device_memory_size)

    def _create_context(self, profile: int, stream: int, scratch: int) -> LibraryContext:
        context: Any = self._engine.create_execution_context_without_device_memory()
        if context is None:
            raise BackendError(f"{self._where}: TensorRT makes no execution context: {self._reason()}")
        if self.scratch_bytes:
            context.device_memory = scratch
        if context.active_optimization_profile != profile:
            self._check(context.set_optimization_profile_async(profile, stream), f"take profile {profile}")
        return LibraryContext(self._trt, context, self.tensors, self._check, None)
