"""Running an engine: streams, contexts, buffers.

open_engine      from a graph or an engine file to a pool
engine_pool      many threads over a few streams; stream: a CUDA stream with its contexts and buffers
context          a call made ready; cuda_graph_cache: its CUDA graphs by shape; bound_call: fixed buffers
profile_choice   which profile takes a shape
executor         what a stream needs of an engine; executor_trt10, executor_trt8: the only files that ask TensorRT for it
kernel_cache     kernels that TensorRT-RTX compiled on this machine
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .engine_pool import EnginePool
    from .open_engine import open_runner

__all__ = ["EnginePool", "open_runner"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "engine_pool": ["EnginePool"],
        "open_engine": ["open_runner"],
    },
)
