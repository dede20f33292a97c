"""An `Executor` for z = a + b that PyTorch computes on a GPU, on the stream and at the addresses that it is given.

With it, streams, graphs and memory are tried on a GPU for which no TensorRT is there.
"""

from __future__ import annotations

from typing import Any

import torch
from attn_runtime.trt.run.executor import Grows, IoTensor, Shape

from support.models.adder import RANGE, SMALL


class TorchExecutor:
    """See `Executor`."""

    def __init__(self) -> None:
        self.tensors = tuple(IoTensor(name, "float32", (-1, -1), name != "z") for name in "abz")
        self.profiles = tuple(dict.fromkeys("ab", sizes) for sizes in (SMALL, RANGE))
        self.scratch_bytes = 1024
        self.captures_itself = False

    def create_context(self, profile: int, stream: int, scratch: int) -> TorchContext:
        assert scratch
        return TorchContext(stream)

    def close(self) -> None:
        pass


class TorchContext:
    """See `Context`."""

    def __init__(self, stream: int) -> None:
        self._stream = torch.cuda.ExternalStream(stream)
        self._shapes: dict[str, Shape] = {}
        self._addresses: dict[str, int] = {}
        self._views: dict[tuple[int, Shape], torch.Tensor] = {}

    def set_shape(self, name: str, shape: Shape) -> None:
        self._shapes[name] = shape

    def set_address(self, name: str, address: int) -> None:
        self._addresses[name] = address

    def set_growing(self, name: str, memory: Grows) -> None:
        raise NotImplementedError

    def infer(self) -> dict[str, Shape]:
        return {"z": self._shapes["a"]}

    def enqueue(self, stream: int) -> None:
        assert stream == self._stream.cuda_stream
        shape = self._shapes["a"]
        with torch.cuda.stream(self._stream):
            a, b, z = (self._view(self._addresses[name], shape) for name in "abz")
            torch.add(a, b, out=z)

    def grown_shape(self, name: str) -> Shape:
        raise NotImplementedError

    def why_not_capturable(self, stream: int) -> str | None:
        return None

    def close(self) -> None:
        self._views.clear()

    def _view(self, address: int, shape: Shape) -> torch.Tensor:
        # Kept: making one asks the driver about the address, which has no place in a capture.
        if (address, shape) not in self._views:
            self._views[address, shape] = torch.as_tensor(_Raw(address, shape), device="cuda:0")
            assert self._views[address, shape].data_ptr() == address
        return self._views[address, shape]


class _Raw:
    def __init__(self, address: int, shape: Shape) -> None:
        self.__cuda_array_interface__: dict[str, Any] = {
            "shape": shape, "typestr": "<f4", "data": (address, False), "strides": None, "version": 2,
        }  # fmt: skip
