"""A stream, and what runs on it: execution contexts, buffers, captured graphs."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...device import ALIGNMENT, Block, Blocks, Buffer, Device, DeviceArray, DeviceTensor, size_of
from ...errors import BackendError
from .context import Captured, ContextState, Copy, capture, put, put_copies
from .cuda_graph_cache import GraphCache
from .executor import Executor, IoTensor, Shape, inputs_of, outputs_of
from .profile_choice import choose_profile

Feed = Mapping[str, NDArray[Any] | DeviceTensor]


@dataclass(frozen=True)
class StreamOptions:
    """`where` and `command` (which builds the engine) are for messages; `most_graphs` bounds what is captured."""

    where: str
    command: str
    cuda_graph: bool = False
    most_graphs: int = 8


class ExecutionStream:
    """Runs one call after another. Belongs to one thread at a time; `Pool` sees to that.

    Every call waits for its own work, so buffers may grow and the caller's tensors may go when it returns. A captured graph
    holds copies in, execution and copies out; it is thrown away when a buffer that it uses grows. `close` frees all.
    """

    def __init__(self, device: Device, executor: Executor, blocks: Blocks, intake: int, options: StreamOptions) -> None:
        device.use()
        self._device, self._executor, self._blocks, self._intake = device, executor, blocks, intake
        self._options = options
        self._inputs, self._outputs = inputs_of(executor), outputs_of(executor)
        self._dtypes = {tensor.name: np.dtype(tensor.dtype) for tensor in executor.tensors}
        self._contexts: dict[int, ContextState] = {}
        self._profiles: dict[tuple[Shape, ...], int] = {}
        self._graphs: GraphCache[Captured] = GraphCache(options.most_graphs)
        self._growths = 0
        self._on_device = {name: Buffer.on_device(device) for name in self._dtypes}
        self._pinned = {name: Buffer.pinned(device) for name in self._dtypes}
        self._scratch = Buffer.on_device(device)
        self.stream = device.create_stream()
        self._event = device.create_event()
        self._scratch.at_least(executor.scratch_bytes)

    def run(self, feed: Feed) -> dict[str, NDArray[Any]]:
        """Every output, in new numpy arrays. Raises InputError for shapes that no profile covers."""
        prepared, _ = self._execute(feed, on_device=False)
        return {
            name: self._pinned[name].array(prepared.shape(name), self._dtypes[name]).copy() for name in self._outputs
        }

    def run_on_device(self, feed: Feed) -> dict[str, DeviceArray]:
        """Every output, in device memory of its own, complete."""
        prepared, blocks = self._execute(feed, on_device=True)
        return {
            name: DeviceArray(self._device, block, prepared.shape(name), self._dtypes[name])
            for name, block in blocks.items()
        }

    def output_shapes(self, shapes: Mapping[str, Shape]) -> Mapping[str, Shape]:
        """What `infer` says; only for engines without inputs on the host."""
        self._device.use()
        prepared = self._context(shapes)
        prepared.prepare(shapes, b"", {})
        return prepared.outputs

    def wait_for(self, stream: int) -> None:
        """Let what is put on the lane's stream from now on wait for what is on `stream` now."""
        self._device.record(self._event, stream)
        self._device.wait(self.stream, self._event)

    def close(self) -> None:
        """Free everything. Closing twice is closing once."""
        if not self.stream:
            return
        self._device.use()
        stream, self.stream = self.stream, 0
        with suppress(BackendError):  # a GPU that failed has nothing left that runs
            self._device.synchronize(stream)
        self._graphs.clear()
        for prepared in self._contexts.values():
            prepared.close()
        self._contexts.clear()
        for buffer in (*self._on_device.values(), *self._pinned.values(), self._scratch):
            buffer.close()
        self._device.destroy_event(self._event)
        self._device.destroy_stream(stream)

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with suppress(Exception):
                self.close()

    # --- one call -------------------------------------------------------------------------------------------------

    def _execute(self, feed: Feed, on_device: bool) -> tuple[ContextState, dict[str, Block]]:
        self._device.use()
        shapes = {name: tuple(feed[name].shape) for name in self._inputs}
        self._profile(shapes)  # refused before anything is put on the stream, which nobody would wait for then
        values, lent = self._stage(feed)
        key = (tuple(shapes.values()), values, tuple(lent.items()), on_device)
        found = self._graphs.find(key)
        if found is not None:
            self._device.launch(found.graph, self.stream)
            prepared, blocks = found.prepared, self._copied_blocks(found.prepared) if on_device else {}
        elif self._wants_capture(key):
            prepared = self._capture(key, shapes, values, lent, on_device)
            blocks = self._copied_blocks(prepared) if on_device else {}
        else:
            prepared, blocks = self._plain(self._context(shapes), shapes, values, lent, on_device)
        self._device.synchronize(self.stream)
        return prepared, blocks

    def _stage(self, feed: Feed) -> tuple[bytes, dict[str, int]]:
        """Put numpy inputs into pinned memory; the values of host inputs, and the addresses of device tensors."""
        values, lent = b"", {}
        for name, tensor in self._inputs.items():
            value = feed[name]
            if isinstance(value, DeviceTensor):
                lent[name] = value
                continue
            self._pinned[name].at_least(value.nbytes)
            np.copyto(self._pinned[name].array(value.shape, self._dtypes[name]), value, casting="no")
            if tensor.on_host:
                values += value.tobytes()
            else:
                self._on_device[name].at_least(value.nbytes)
        if lent:
            self.wait_for(self._intake)
        addresses = {name: self._lent_address(self._inputs[name], value) for name, value in lent.items()}
        self._drop_graphs_of_old_addresses()
        return values, addresses

    def _lent_address(self, tensor: IoTensor, value: DeviceTensor) -> int:
        if tensor.on_host:
            raise BackendError(
                f'{self._options.where}: input "{tensor.name}" decides on shapes, which the host computes; '
                f"give it as a numpy array"
            )
        if value.address and value.address % ALIGNMENT == 0:
            return value.address
        # A view into the middle of something, or nothing at all: TensorRT takes neither address.
        own = self._on_device[tensor.name].at_least(value.nbytes)
        put_copies(self._device, self.stream, [(own, value.address, value.nbytes)])
        return own

    def _plain(
        self,
        prepared: ContextState,
        shapes: Mapping[str, Shape],
        values: bytes,
        lent: Mapping[str, int],
        on_device: bool,
    ) -> tuple[ContextState, dict[str, Block]]:
        """The call without a graph; device results are written where they stay."""
        self._prepare(prepared, shapes, values, lent)
        blocks: dict[str, Block] = {}
        growing = prepared.growing()
        for name in growing:
            prepared.set_growing(name, self._on_device[name])
        # A library with graphs of its own records anew for every new address: it writes to ours, and the answer is copied.
        if on_device and not self._executor.captures_itself:
            for name, tensor in self._outputs.items():
                if name not in growing and not tensor.on_host:
                    blocks[name] = self._blocks.take(self._nbytes(prepared, name), self.stream)
                    prepared.set_address(name, blocks[name].address)
        self._own_outputs(prepared, [name for name in self._outputs if name not in blocks], pinned=not on_device)
        put(self._device, self.stream, self._copies_in(shapes, lent), prepared.context, [])
        if on_device:
            blocks |= self._copied_blocks(prepared, [name for name in self._outputs if name not in blocks])
        else:
            for name in growing:
                self._pinned[name].at_least(self._nbytes(prepared, name))
            put_copies(self._device, self.stream, self._copies_out(prepared))
        return prepared, blocks

    def _prepare(
        self, prepared: ContextState, shapes: Mapping[str, Shape], values: bytes, lent: Mapping[str, int]
    ) -> None:
        on_host = {name: self._pinned[name].address for name, t in self._inputs.items() if t.on_host}
        prepared.prepare(shapes, values, on_host)
        for name, tensor in self._inputs.items():
            if not tensor.on_host:
                prepared.set_address(name, lent[name] if name in lent else self._on_device[name].address)

    def _own_outputs(self, prepared: ContextState, names: Iterable[str], pinned: bool) -> None:
        """Let these outputs be written to buffers of the lane, as large as they will be."""
        for name in names:
            if -1 in prepared.outputs[name]:
                continue  # the library asks for memory when it knows
            nbytes, on_host = self._nbytes(prepared, name), self._outputs[name].on_host
            if pinned or on_host:
                self._pinned[name].at_least(nbytes)
            if not on_host:
                self._on_device[name].at_least(nbytes)
            prepared.set_address(name, (self._pinned if on_host else self._on_device)[name].address)
        self._drop_graphs_of_old_addresses()

    # --- graphs ---------------------------------------------------------------------------------------------------

    def _wants_capture(self, key: Hashable) -> bool:
        wanted = self._options.cuda_graph and not self._executor.captures_itself
        return wanted and self._graphs.seen_before(key)

    def _capture(
        self, key: Hashable, shapes: Mapping[str, Shape], values: bytes, lent: Mapping[str, int], on_device: bool
    ) -> ContextState:
        """Run once in a context of the graph's own, which is this call and the warm-up, and record that."""
        self._graphs.make_room()  # before the new context takes memory
        prepared = self.new_context(shapes)
        try:
            self._prepare(prepared, shapes, values, lent)
            if reason := prepared.why_not_captured(self.stream):
                raise BackendError(f"{self._options.where}: {reason}; open it without cuda_graph")
            self._own_outputs(prepared, self._outputs, pinned=not on_device)
            before = self._copies_in(shapes, lent)
            after = [] if on_device else self._copies_out(prepared)
            put(self._device, self.stream, before, prepared.context, after)
            self._device.synchronize(self.stream)
            graph = capture(self._device, self.stream, before, prepared.context, after)
        except BaseException:
            prepared.close()
            raise
        self._graphs.add(key, Captured(self._device, prepared, graph))
        return prepared

    def _drop_graphs_of_old_addresses(self) -> None:
        growths = sum(b.growths for b in (*self._on_device.values(), *self._pinned.values()))
        if growths != self._growths:
            self._growths = growths
            self._graphs.clear()

    # --- pieces ---------------------------------------------------------------------------------------------------

    def _context(self, shapes: Mapping[str, Shape]) -> ContextState:
        number = self._profile(shapes)
        if number not in self._contexts:
            self._contexts[number] = self.new_context(shapes)
        return self._contexts[number]

    def new_context(self, shapes: Mapping[str, Shape]) -> ContextState:
        """A context of the lane's stream and scratch memory; who asks for it closes it, before the lane."""
        context = self._executor.create_context(self._profile(shapes), self.stream, self._scratch.address)
        return ContextState(context)

    def _profile(self, shapes: Mapping[str, Shape]) -> int:
        key = tuple(shapes.values())
        if key not in self._profiles:
            if len(self._profiles) > 4096:
                self._profiles.clear()
            options = self._options
            self._profiles[key] = choose_profile(self._executor.profiles, shapes, options.where, options.command)
        return self._profiles[key]

    def _copies_in(self, shapes: Mapping[str, Shape], lent: Mapping[str, int]) -> list[Copy]:
        return [
            (self._on_device[name].address, self._pinned[name].address, size_of(shapes[name], self._dtypes[name]))
            for name, tensor in self._inputs.items()
            if name not in lent and not tensor.on_host
        ]

    def _copies_out(self, prepared: ContextState) -> list[Copy]:
        return [
            (self._pinned[name].address, self._on_device[name].address, self._nbytes(prepared, name))
            for name, tensor in self._outputs.items()
            if not tensor.on_host
        ]

    def _copied_blocks(self, prepared: ContextState, names: list[str] | None = None) -> dict[str, Block]:
        """Blocks that outputs are copied into, from the buffers that graphs and allocators write to."""
        blocks = {}
        for name in self._outputs if names is None else names:
            nbytes = self._nbytes(prepared, name)
            blocks[name] = self._blocks.take(nbytes, self.stream)
            source = (self._pinned if self._outputs[name].on_host else self._on_device)[name].address
            put_copies(self._device, self.stream, [(blocks[name].address, source, nbytes)])
        return blocks

    def _nbytes(self, prepared: ContextState, name: str) -> int:
        return size_of(prepared.shape(name), self._dtypes[name])
