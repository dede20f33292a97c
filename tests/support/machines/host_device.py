"""A `Device` whose memory is the host's and whose streams really are asynchronous: nothing runs until it is waited for.

It is stricter than a GPU: a copy into memory that was freed, out of bounds, or never allocated fails; so does capturing
what may not be captured. Whoever forgets to wait reads what was there before.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from attn_runtime.device.interface import ALIGNMENT, DEFAULT_STREAM, DLPACK_CPU
from attn_runtime.errors import BackendError

Work = Callable[[], None]


@dataclass
class Stream:
    """Work in order; `done` items are behind it."""

    running: threading.RLock = field(default_factory=threading.RLock)
    items: list[Work] = field(default_factory=list)
    done: int = 0
    recording: list[Work] | None = None


class HostDevice:
    """See `Device`. `allocated` and `pinned` are in bytes, as they are now; the counters count calls since it was made."""

    name, number, dlpack_type = "cuda:0", 0, DLPACK_CPU

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._memory: dict[int, np.ndarray] = {}
        self._kind: dict[int, str] = {}
        self._numbers = itertools.count(DEFAULT_STREAM + 1)
        self._streams: dict[int, Stream] = {DEFAULT_STREAM: Stream()}
        self._events: dict[int, tuple[Stream, int] | None] = {}
        self._graphs: dict[int, list[Work]] = {}
        self._users: set[int] = set()
        self.allocations = self.launches = self.captures = self.copies = 0
        self.most_bytes: int | None = None

    @property
    def allocated(self) -> int:
        return sum(m.nbytes - ALIGNMENT for a, m in self._memory.items() if self._kind[a] == "device")

    @property
    def pinned(self) -> int:
        return sum(m.nbytes - ALIGNMENT for a, m in self._memory.items() if self._kind[a] == "pinned")

    @property
    def alive(self) -> tuple[int, int, int]:
        """(streams, events, graphs) that nobody destroyed yet, without the default stream."""
        return len(self._streams) - 1, len(self._events), len(self._graphs)

    def use(self) -> None:
        self._users.add(threading.get_ident())

    def allocate(self, nbytes: int) -> int:
        return self._allocate(nbytes, "device")

    def free(self, address: int) -> None:
        self._free(address, "device")

    def allocate_pinned(self, nbytes: int) -> int:
        return self._allocate(nbytes, "pinned")

    def free_pinned(self, address: int) -> None:
        self._free(address, "pinned")

    def create_stream(self) -> int:
        return self._new(self._streams, Stream())

    def destroy_stream(self, stream: int) -> None:
        if self._streams[stream].items:
            self.synchronize(stream)
        del self._streams[stream]

    def synchronize(self, stream: int) -> None:
        self._check_thread()
        with self._lock:
            there = self._streams[stream]
            until = there.done + len(there.items)
        if there.recording is not None:
            raise BackendError("cuda:0: synchronize of a stream that is being captured")
        self._run(there, until)

    def create_event(self) -> int:
        return self._new(self._events, None)

    def destroy_event(self, event: int) -> None:
        del self._events[event]

    def record(self, event: int, stream: int) -> None:
        self._check_thread()
        with self._lock:
            there = self._streams[stream]
            assert event in self._events
            self._events[event] = there, there.done + len(there.items)

    def wait(self, stream: int, event: int) -> None:
        self._check_thread()
        with self._lock:
            marked = self._events[event]
            if marked is not None:
                self.put(stream, lambda: self._run(*marked))

    def copy(self, target: int, source: int, nbytes: int, stream: int) -> None:
        assert nbytes > 0
        self.copies += 1

        def work() -> None:
            self.view(target, nbytes)[:] = self.view(source, nbytes)

        self.put(stream, work)

    def copy_box(
        self,
        target: int,
        target_steps: tuple[int, int],
        source: int,
        source_steps: tuple[int, int],
        extent: tuple[int, int, int],
        stream: int,
    ) -> None:
        assert min(extent) > 0
        for piece, row in (target_steps, source_steps):
            assert piece >= extent[0] and row % piece == 0 and row >= piece * extent[1]
        self.copies += 1

        def work() -> None:
            for row, piece in itertools.product(range(extent[2]), range(extent[1])):
                to = target + row * target_steps[1] + piece * target_steps[0]
                at = source + row * source_steps[1] + piece * source_steps[0]
                self.view(to, extent[0])[:] = self.view(at, extent[0])

        self.put(stream, work)

    def clear(self, target: int, nbytes: int, stream: int) -> None:
        assert nbytes > 0
        self.put(stream, lambda: self.view(target, nbytes).fill(0))

    def begin_capture(self, stream: int) -> None:
        with self._lock:
            there = self._streams[stream]
            assert there.recording is None, "captured twice"
            there.recording = []

    def end_capture(self, stream: int) -> int:
        with self._lock:
            there = self._streams[stream]
            assert there.recording is not None, "nothing is being captured"
            recorded, there.recording = there.recording, None
            self.captures += 1
            return self._new(self._graphs, recorded)

    def launch(self, graph: int, stream: int) -> None:
        self._check_thread()
        with self._lock:
            self.launches += 1
            for work in self._graphs[graph]:
                self.put(stream, work)

    def destroy_graph(self, graph: int) -> None:
        del self._graphs[graph]

    # --- for executors and tests ----------------------------------------------------------------------------------

    def put(self, stream: int, work: Work) -> None:
        """Put any work on a stream, or into what is being captured of it."""
        with self._lock:
            there = self._streams[stream]
            (there.items if there.recording is None else there.recording).append(work)

    def is_capturing(self, stream: int) -> bool:
        return self._streams[stream].recording is not None

    def view(self, address: int, nbytes: int) -> np.ndarray:
        """Bytes that lie in one allocation; fails for any others."""
        with self._lock:
            for start, memory in self._memory.items():
                if start <= address and address + nbytes <= start + memory.nbytes - ALIGNMENT:
                    offset = address - memory.ctypes.data
                    return memory[offset : offset + nbytes]
        raise AssertionError(f"{nbytes} bytes at {address:#x} are not in memory that is allocated")

    def _allocate(self, nbytes: int, kind: str) -> int:
        self._check_thread()
        with self._lock:
            self.allocations += 1
            if self.most_bytes is not None and self.allocated + nbytes > self.most_bytes:
                raise BackendError("cuda:0: cudaMalloc answers cudaErrorMemoryAllocation (out of memory)")
            memory = np.full(max(nbytes, ALIGNMENT) + ALIGNMENT, 0xCD, np.uint8)
            address = -(-memory.ctypes.data // ALIGNMENT) * ALIGNMENT
            self._memory[address], self._kind[address] = memory, kind
            return address

    def _free(self, address: int, kind: str) -> None:
        self._check_thread()
        with self._lock:
            assert self._kind.pop(address) == kind
            self._memory.pop(address)[:] = 0xDD

    def _new(self, into: dict, what: object) -> int:
        self._check_thread()
        with self._lock:
            number = next(self._numbers)
            into[number] = what
            return number

    def _run(self, stream: Stream, until: int) -> None:
        with stream.running:  # and not the device's lock: streams run beside each other
            while stream.done < until:
                with self._lock:
                    work = stream.items.pop(0)
                    stream.done += 1
                work()

    def _check_thread(self) -> None:
        assert threading.get_ident() in self._users, "this thread did not say which device it uses"
