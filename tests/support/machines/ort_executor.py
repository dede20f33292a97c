"""An `Executor` that computes with ONNX Runtime in the memory of a `HostDevice`, and insists on TensorRT's rules."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from attn_runtime.device.interface import ALIGNMENT
from attn_runtime.errors import BackendError
from attn_runtime.trt.profiles import Profile
from attn_runtime.trt.run.executor import Grows, IoTensor, Shape

from support.machines.host_device import HostDevice

_DTYPES = {"float": "float32", "double": "float64"}  # of "tensor(float)"; the others are numpy's names


class OrtExecutor:
    """See `Executor`.

    on_host    inputs whose values decide on shapes
    growing    outputs whose shapes follow from values
    capturable what `why_not_capturable` answers, None for that nothing is against it
    """

    def __init__(
        self,
        device: HostDevice,
        model: Path,
        profiles: Sequence[Profile],
        *,
        on_host: Sequence[str] = (),
        growing: Sequence[str] = (),
        scratch_bytes: int = 1024,
        captures_itself: bool = False,
        why_not_capturable: str | None = None,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        self.device, self.profiles, self.growing = device, tuple(profiles), set(growing)
        self.scratch_bytes, self.captures_itself, self.uncapturable = scratch_bytes, captures_itself, why_not_capturable
        sides = [(node, True) for node in self.session.get_inputs()]
        sides += [(node, False) for node in self.session.get_outputs()]
        self.tensors = tuple(
            IoTensor(
                node.name,
                _DTYPES.get(node.type[7:-1], node.type[7:-1]),
                tuple(size if isinstance(size, int) else -1 for size in node.shape),
                is_input,
                node.name in on_host,
            )
            for node, is_input in sides
        )
        self.contexts: list[HostContext] = []
        self.made = self.most_at_once = 0
        self.busy_scratch: set[int] = set()
        self.lock = threading.Lock()
        self.closed = False
        self.fail_enqueue: Exception | None = None

    def create_context(self, profile: int, stream: int, scratch: int) -> HostContext:
        assert not self.closed
        self.device.view(scratch, self.scratch_bytes)
        context = HostContext(self, profile, stream, scratch)
        self.contexts.append(context)
        self.made += 1
        self.most_at_once = max(self.most_at_once, len(self.contexts))
        return context

    def close(self) -> None:
        assert not self.contexts, "a context outlives its engine"
        self.closed = True


class HostContext:
    """See `Context`."""

    def __init__(self, executor: OrtExecutor, profile: int, stream: int, scratch: int) -> None:
        self.executor, self.profile, self.stream, self.scratch = executor, profile, stream, scratch
        self.shapes: dict[str, Shape] = {}
        self.addresses: dict[str, int] = {}
        self.grows: dict[str, Grows] = {}
        self.grown: dict[str, Shape] = {}
        self.outputs: Mapping[str, Shape] = {}
        self.ran_at: object = None
        self.shape_changes = 0
        self.tensors = {tensor.name: tensor for tensor in executor.tensors}

    def set_shape(self, name: str, shape: Shape) -> None:
        low, _, high = self.executor.profiles[self.profile][name]
        if len(shape) != len(low) or not all(a <= s <= b for a, s, b in zip(low, shape, high, strict=True)):
            raise BackendError(f"TensorRT does not take {shape} for input {name}: the profile allows {low}..{high}")
        self.shapes[name] = shape
        self.shape_changes += 1
        self.ran_at = None

    def set_address(self, name: str, address: int) -> None:
        if not address or address % ALIGNMENT:
            raise BackendError(f"TensorRT does not take address {address:#x} for {name}")
        self.addresses[name] = address

    def set_growing(self, name: str, memory: Grows) -> None:
        assert name in self.executor.growing
        self.grows[name] = memory

    def infer(self) -> dict[str, Shape]:
        feed = {}
        for name, tensor in self.tensors.items():
            if tensor.is_input:
                assert name in self.shapes, f"{name} has no shape"
                feed[name] = np.zeros(self.shapes[name], tensor.dtype)
                if tensor.on_host:
                    feed[name] = self._view(name, self.shapes[name]).copy()
        names = [t.name for t in self.executor.tensors if not t.is_input]
        answers = dict(zip(names, self.executor.session.run(names, feed), strict=True))
        self.outputs = {
            name: (value.shape[0], -1) if name in self.executor.growing else value.shape
            for name, value in answers.items()
        }
        return dict(self.outputs)

    def enqueue(self, stream: int) -> None:
        executor = self.executor
        assert stream == self.stream and self in executor.contexts
        if executor.fail_enqueue is not None:
            raise executor.fail_enqueue
        if executor.device.is_capturing(stream):
            assert self.ran_at is not None, "captured without a run at these shapes"
            assert executor.uncapturable is None and not self.grows
        self.ran_at = dict(self.shapes)
        shapes, addresses, outputs = dict(self.shapes), dict(self.addresses), dict(self.outputs)
        missing = [n for n in self.tensors if n not in addresses and n not in self.grows]
        assert not missing, f"no address of {missing}"
        for name in self.grows:  # as TensorRT does: the sizes are known when the call returns
            executor.device.synchronize(stream)
            answer = self._answers(shapes, addresses)[name]
            addresses[name] = self.grows[name].at_least(max(answer.nbytes, 1))
            self.grown[name] = outputs[name] = answer.shape
        executor.device.put(stream, lambda: self._compute(shapes, addresses, outputs))

    def grown_shape(self, name: str) -> Shape:
        return self.grown[name]

    def why_not_capturable(self, stream: int) -> str | None:
        return self.executor.uncapturable

    def close(self) -> None:
        self.executor.contexts.remove(self)

    def _compute(self, shapes: Mapping[str, Shape], addresses: Mapping[str, int], outputs: Mapping[str, Shape]) -> None:
        executor = self.executor
        assert self in executor.contexts, "ran after its context was closed"
        assert shapes == self.shapes, "a graph was launched after its context got other shapes"
        with executor.lock:
            assert self.scratch not in executor.busy_scratch, "two calls share scratch memory"
            executor.busy_scratch.add(self.scratch)
        try:
            executor.device.view(self.scratch, executor.scratch_bytes)[:] = 0xEE
            for name, value in self._answers(shapes, addresses).items():
                assert value.shape == outputs[name]
                if value.nbytes:
                    raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                    executor.device.view(addresses[name], value.nbytes)[:] = raw
        finally:
            with executor.lock:
                executor.busy_scratch.discard(self.scratch)

    def _answers(self, shapes: Mapping[str, Shape], addresses: Mapping[str, int]) -> dict[str, np.ndarray]:
        feed = {name: self._view(name, shapes[name], addresses) for name, t in self.tensors.items() if t.is_input}
        names = [t.name for t in self.executor.tensors if not t.is_input]
        return dict(zip(names, self.executor.session.run(names, feed), strict=True))

    def _view(self, name: str, shape: Shape, addresses: Mapping[str, int] | None = None) -> np.ndarray:
        dtype = np.dtype(self.tensors[name].dtype)
        nbytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        address = (addresses or self.addresses)[name]
        return self.executor.device.view(address, nbytes).view(dtype).reshape(shape)
