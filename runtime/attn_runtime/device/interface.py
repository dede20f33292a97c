"""What the runtime needs of a device. Addresses and handles are plain integers, as the engine libraries take them."""

from __future__ import annotations

from typing import Protocol

#: TensorRT refuses an address that is not a multiple of this; every allocation is.
ALIGNMENT = 256

#: CUDA's legacy default stream, which DLPack numbers the same: what PyTorch and most others work on unless told otherwise.
#: It is always there, and its work comes after that of every stream but the non-blocking ones.
DEFAULT_STREAM = 1

#: DLPack's device types, which `Device.dlpack_type` is one of.
DLPACK_CPU, DLPACK_CUDA, DLPACK_PINNED = 1, 2, 3


class Device(Protocol):
    """One GPU. Every call raises BackendError with the driver's own name for what went wrong.

    Work put on one stream runs in order; streams run beside each other. Nothing here waits but `synchronize`
    and `free`.
    May be used by many threads; each calls `use` before anything else.
    """

    name: str
    """As sessions name it: "cuda:0"."""
    number: int
    dlpack_type: int

    def use(self) -> None:
        """Make this the calling thread's device."""

    def allocate(self, nbytes: int) -> int:
        """The address of `nbytes` bytes of device memory, a multiple of ALIGNMENT; never 0, also for 0 bytes."""

    def free(self, address: int) -> None:
        """Give back what `allocate` gave, once all work on the device is done; waits for that."""

    def allocate_pinned(self, nbytes: int) -> int:
        """The address of page-locked host memory, which copies to and from the device run beside the host with."""

    def free_pinned(self, address: int) -> None: ...

    def create_stream(self) -> int:
        """A stream that does not wait for the default stream, nor makes it wait."""

    def destroy_stream(self, stream: int) -> None: ...

    def synchronize(self, stream: int) -> None:
        """Wait until everything put on `stream` is done."""

    def create_event(self) -> int:
        """An event without a time, for order between streams."""

    def destroy_event(self, event: int) -> None: ...

    def record(self, event: int, stream: int) -> None:
        """Mark in `event` how far `stream` is now."""

    def wait(self, stream: int, event: int) -> None:
        """Let what is put on `stream` from now on wait for what `event` marks."""

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        """Put a copy on `stream`; each side is device memory or pinned memory."""

    def copy_box(
        self,
        target: int,
        target_steps: tuple[int, int],
        source: int,
        source_steps: tuple[int, int],
        extent: tuple[int, int, int],
        stream: int,
    ) -> None:
        """Put a copy of many pieces on `stream`, each side device memory; what is read and written must not overlap.

        extent  (bytes of a piece, pieces of a row, rows)
        steps   bytes (from one piece to the next, from one row to the next); the second is a multiple of the first
        """

    def clear(self, target: int, nbytes: int, stream: int) -> None:
        """Put on `stream` that these bytes of device memory become zero."""

    def begin_capture(self, stream: int) -> None:
        """Let what this thread puts on `stream` be recorded instead of run."""

    def end_capture(self, stream: int) -> int:
        """What was recorded since, ready to launch. BackendError when something in it can't be recorded."""

    def launch(self, graph: int, stream: int) -> None: ...

    def destroy_graph(self, graph: int) -> None: ...
