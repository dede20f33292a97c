"""What running a compiled engine takes, as an interface: TensorRT's named I/O, without TensorRT.

`executor_trt10` is the real one. The rules of TensorRT that every user of this interface has to keep:
- A context belongs to one thread and one stream at a time. Here it keeps one profile for life.
- Shapes before `infer`, host inputs' addresses before `infer` too, addresses of everything before `enqueue`.
- Addresses of device tensors are multiples of `attn_runtime.device.interface.ALIGNMENT`, and none is 0.
- After a change of shapes, one `enqueue` must have run before another may be captured as a CUDA graph. A captured graph
  is good for the shapes it was captured with, and for as long as its context keeps them: one context per graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from .. import Profile

Shape = tuple[int, ...]


@dataclass(frozen=True)
class IoTensor:
    """An input or output of an engine.

    shape    -1 for an axis that varies
    dtype    numpy's name
    on_host  whether its values lie in host memory: they decide on shapes
    """

    name: str
    dtype: str
    shape: Shape
    is_input: bool
    on_host: bool = False


class Grows(Protocol):
    """Memory for an output whose size is known only when it has been computed."""

    def at_least(self, nbytes: int) -> int:
        """The address of `nbytes` bytes; what it held before may be lost."""


class Context(Protocol):
    """One execution context. Raises BackendError where the library refuses."""

    def set_shape(self, name: str, shape: Shape) -> None: ...

    def set_address(self, name: str, address: int) -> None:
        """Of an input or output; host memory where the tensor is `on_host`."""

    def set_growing(self, name: str, memory: Grows) -> None:
        """Let `memory` grow to what the output `name` needs, at every `enqueue`."""

    def infer(self) -> dict[str, Shape]:
        """The outputs' shapes; -1 for an axis that follows from values."""

    def enqueue(self, stream: int) -> None:
        """Put one execution on `stream`. Outputs with growing memory have their shape when it returns."""

    def grown_shape(self, name: str) -> Shape:
        """The shape that the last `enqueue` gave an output with growing memory."""

    def why_not_capturable(self, stream: int) -> str | None:
        """None when `enqueue` may be captured in a CUDA graph, as far as the library can tell."""

    def close(self) -> None: ...


class Executor(Protocol):
    """A deserialized engine. Contexts may be made from many threads at once."""

    tensors: tuple[IoTensor, ...]
    profiles: tuple[Profile, ...]
    scratch_bytes: int
    """Of device memory that a context works in."""
    captures_itself: bool
    """Whether the library replays CUDA graphs of its own inside `enqueue`; then nobody else captures."""

    def create_context(self, profile: int, stream: int, scratch: int) -> Context:
        """A context with that profile, on scratch memory that no two running contexts may share."""

    def close(self) -> None:
        """After the last context is closed."""


def inputs_of(executor: Executor) -> Mapping[str, IoTensor]:
    return {t.name: t for t in executor.tensors if t.is_input}


def outputs_of(executor: Executor) -> Mapping[str, IoTensor]:
    return {t.name: t for t in executor.tensors if not t.is_input}
