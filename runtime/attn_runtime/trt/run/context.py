"""An execution context with the shapes and addresses it has now, so that only what changed is set again."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from ...device import Device
from ...errors import BackendError
from .executor import Context, Grows, Shape

#: (to, from, bytes)
Copy = tuple[int, int, int]


class ContextState:
    """Belongs to one stream. `outputs` are the shapes that `prepare` found; -1 where they follow from values."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.outputs: Mapping[str, Shape] = {}
        self._state: object = None
        self._addresses: dict[str, int] = {}
        self._growing: set[str] = set()

    def prepare(self, shapes: Mapping[str, Shape], values: bytes, host_addresses: Mapping[str, int]) -> None:
        """Set the inputs' shapes and infer the outputs'. `values` are those of the host inputs, at `host_addresses`."""
        for name, address in host_addresses.items():
            self.set_address(name, address)
        state = (shapes, values)
        if self._state == state:
            return
        self._state = None  # should anything fail now, the next call begins anew
        for name, shape in shapes.items():
            self.context.set_shape(name, shape)
        self.outputs = self.context.infer()
        self._state = state

    def set_address(self, name: str, address: int) -> None:
        if self._addresses.get(name) != address:
            self.context.set_address(name, address)
            self._addresses[name] = address

    def set_growing(self, name: str, memory: Grows) -> None:
        if name not in self._growing:
            self.context.set_growing(name, memory)
            self._growing.add(name)

    def shape(self, name: str) -> Shape:
        """Of an output, once it has run."""
        shape = self.outputs[name]
        return self.context.grown_shape(name) if -1 in shape else shape

    def growing(self) -> list[str]:
        """The outputs whose shapes follow from values."""
        return [name for name, shape in self.outputs.items() if -1 in shape]

    def why_not_captured(self, stream: int) -> str | None:
        """Why a call can't be a CUDA graph, in words that go on after the name of the engine."""
        if growing := self.growing():
            return f"a CUDA graph has fixed shapes, and that of {', '.join(growing)} follows from values"
        return self.context.why_not_capturable(stream)

    def close(self) -> None:
        self.context.close()


class Captured:
    """A CUDA graph with the context whose memory it works in."""

    def __init__(self, device: Device, prepared: ContextState, graph: int) -> None:
        self._device, self.prepared, self.graph = device, prepared, graph

    def close(self) -> None:
        self._device.destroy_graph(self.graph)
        self.prepared.close()


def put(device: Device, stream: int, before: Sequence[Copy], context: Context, after: Sequence[Copy]) -> None:
    """Put copies in, one execution and copies out on `stream`: what a call is, and what a graph of it holds."""
    put_copies(device, stream, before)
    context.enqueue(stream)
    put_copies(device, stream, after)


def put_copies(device: Device, stream: int, copies: Sequence[Copy]) -> None:
    for target, source, nbytes in copies:
        if nbytes:
            device.copy(target, source, nbytes, stream)


def capture(device: Device, stream: int, before: Sequence[Copy], context: Context, after: Sequence[Copy]) -> int:
    """That as a graph. `context` must have run at these shapes before. BackendError where it can't be recorded."""
    try:
        return _capture(device, stream, before, context, after)
    except BackendError as error:  # it ran a moment ago, so recording it is what fails
        raise BackendError(f"{error}. As a CUDA graph it can't run; open it without cuda_graph.") from error


def _capture(device: Device, stream: int, before: Sequence[Copy], context: Context, after: Sequence[Copy]) -> int:
    with _no_collection():
        device.begin_capture(stream)
        try:
            put(device, stream, before, context, after)
        except BaseException:
            # A stream that is left recording would fail everything that comes after.
            with suppress(Exception):
                device.destroy_graph(device.end_capture(stream))
            raise
        return device.end_capture(stream)


@contextmanager
def _no_collection() -> Iterator[None]:
    """The garbage collector may free page-locked memory or a graph of anybody's, which no thread may while it captures."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
