"""Rows of the step that join and leave between steps, each at a place of its own.

The rows that are under way are the first ones of buffers that have room for more, and a step is bound to just these: one row
costs what it costs alone. Where a row leaves, the last one takes its place, which copies what that one has read. Buffers grow
by powers of two, in rows as in entries, and shrink where a quarter would do.

What lies behind a row's entries is zeros, always: what is masked is multiplied by zero, which must not be a NaN of a row before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...session import BoundCall, Session
from ...spec import TensorSpec
from .buffers import Memory, put_row, rows_of
from .graph_io import GraphIO
from .kv_cache import Cache, Entries, capacity_for

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Room:
    """How much buffers hold: rows, entries of each, and the axes of what is carried but for the first, by name."""

    rows: int
    entries: int
    carried: tuple[tuple[str, tuple[int, ...]], ...]


class Carried:
    """What the step reads beside the cache, and what of it may be longer than a row needs: an axis whose name a bool mask of the
    batch has too, which is false behind a row's end."""

    def __init__(self, wiring: GraphIO) -> None:
        self.specs = {name: wiring.step.inputs[name] for name in wiring.carried}
        self._given = [spec for spec in wiring.inputs if wiring.encoder is not None]
        masks = [spec for spec in self.specs.values() if spec.dtype == "bool" and len(spec.dims) == 2]
        masked = {spec.dims[1].name for spec in masks if spec.dims[1].dynamic}
        self._padded = {
            name: [axis for axis, dim in enumerate(spec.dims[1:]) if dim.dynamic and dim.name in masked]
            for name, spec in self.specs.items()
        }
        # Of several such axes in one tensor none is padded: what is between them would have to be moved line by line.
        if any(len(axes) > 1 for axes in self._padded.values()):
            self._padded = {name: [] for name in self.specs}

    def shapes_of(self, source: Mapping[str, NDArray[Any]]) -> Shapes:
        """Of each tensor but for the batch, for the encoder's inputs of one row. A size that they don't tell is the most."""
        sizes = {
            dim.name: size
            for spec in self._given
            for dim, size in zip(spec.dims[1:], source[spec.name].shape[1:], strict=True)
        }
        return {
            name: tuple(sizes.get(dim.name, dim.max) if dim.dynamic else dim.opt for dim in spec.dims[1:])
            for name, spec in self.specs.items()
        }

    def kept(self, had: Shapes, wanted: Shapes) -> Shapes:
        """Shapes to hold `wanted` in, which are those that there are where they are not much too large."""
        return {
            name: tuple(
                _kept(had[name][axis], size) if axis in self._padded[name] else size for axis, size in enumerate(sizes)
            )
            for name, sizes in wanted.items()
        }

    def together(self, several: Sequence[Shapes]) -> Shapes | None:
        """Shapes that rows of these fit in; None where they can't be in one step."""
        found = {}
        for name, spec in self.specs.items():
            shape = []
            for axis, sizes in enumerate(zip(*(shapes[name] for shapes in several), strict=True)):
                dim = spec.dims[1 + axis]
                if axis in self._padded[name]:
                    shape.append(capacity_for(max(sizes), (dim.min, dim.max)))
                elif min(sizes) < max(sizes):
                    return None
                else:
                    shape.append(sizes[0])
            found[name] = tuple(shape)
        return found


class Buffers:
    """What one step reads and writes, for as many rows as there is room for; bound to the first ones of them."""

    def __init__(
        self, wiring: GraphIO, session: Session, memory: Memory, cached: Mapping[str, TensorSpec], room: Room
    ) -> None:
        self.room, self._wiring, self._session, self._on_device = room, wiring, session, memory.on_device
        rows, step = room.rows, wiring.step
        self.cache = Cache(memory, cached, session.buffer((rows, room.entries), "bool"))
        self.zeros = Entries(memory, cached, 1, room.entries)
        self.new = Entries(memory, cached, rows, 1)
        # What the encoder was given lies on the host, as its mask does.
        given = {spec.name for spec in wiring.inputs}
        self.carried = {
            name: session.buffer(
                (rows, *shape), step.inputs[name].dtype, on_device=memory.on_device and name not in given
            )
            for name, shape in room.carried
        }
        self.token = session.buffer((rows, 1), "int64")
        self.position = session.buffer((1 if wiring.one_place else rows, 1), "int64")
        self.logits = session.buffer((rows, wiring.vocabulary), step.outputs["logits"].dtype)
        self.calls: dict[int, BoundCall] = {}

    def call(self, rows: int) -> BoundCall:
        """The step of the first rows, bound once."""
        if rows not in self.calls:
            position = self.position if self._wiring.one_place else self.position[:rows]
            inputs = {"token": self.token[:rows], "position": position, "past_mask": self.cache.mask[:rows]}
            inputs |= {name: rows_of(wide, rows) for name, wide in self.carried.items()}
            inputs |= {f"past_{name}": rows_of(part, rows) for name, part in self.cache.past.by_name.items()}
            outputs = {"logits": self.logits[:rows]}
            outputs |= {f"new_{name}": rows_of(part, rows) for name, part in self.new.by_name.items()}
            self.calls[rows] = self._session.bind(inputs=inputs, outputs=outputs, on_device=self._on_device)
        return self.calls[rows]


class Slots:
    """The rows that are under way: `join`, `step` as often as one likes, `leave`.

    most        rows that there may be; most_bytes what their buffers may take, and half as much again while they grow
    rows        how many there are; they are numbered from 0 on
    places      of the next token of each
    """

    def __init__(
        self, wiring: GraphIO, session: Session, memory: Memory, most: int, most_bytes: int | None = None
    ) -> None:
        self._wiring, self._session, self._memory, self._most = wiring, session, memory, most
        self._most_bytes = math.inf if most_bytes is None else most_bytes
        self._cached: dict[str, TensorSpec] = {name: wiring.step.inputs[f"past_{name}"] for name in wiring.cache}
        self.carried = Carried(wiring)
        self.clear()

    def clear(self) -> None:
        """Let go of all rows and buffers."""
        self.places: list[int] = []
        self._shapes: list[Shapes] = []
        self._buffers: Buffers | None = None
        self._changed = False  # which rows there are, since there were buffers for them

    @property
    def rows(self) -> int:
        return len(self.places)

    def room_for(self, entries: Sequence[int], shapes: Sequence[Shapes]) -> Room | None:
        """What rows of so many entries and of these shapes of what is carried need; None where they can't be in one step, for
        their number or their shapes."""
        together = self.carried.together(shapes)
        if together is None or len(entries) > self._most:
            return None
        rows = min(1 << (len(entries) - 1).bit_length(), self._most)
        return Room(rows, capacity_for(max(entries), self._wiring.capacities), tuple(together.items()))

    def fit(self, entries: Sequence[int], shapes: Sequence[Shapes]) -> bool:
        """Whether such rows can be in one step, within `most` and `most_bytes`."""
        room = self.room_for(entries, shapes)
        return room is not None and self.nbytes(room) <= self._most_bytes

    def nbytes(self, room: Room) -> int:
        """Bytes of the buffers for so much."""

        def row(spec: TensorSpec, sizes: Sequence[int]) -> int:
            return math.prod(sizes) * np.dtype(spec.dtype).itemsize

        found = sum(row(spec, (spec.dims[1].opt, room.entries + 1, spec.dims[3].opt)) for spec in self._cached.values())
        found += sum(row(self.carried.specs[name], shape) for name, shape in room.carried)
        logits = self._wiring.step.outputs["logits"]
        return room.rows * (found + room.entries + row(logits, (self._wiring.vocabulary,)) + 16)

    def join(self, prompt: Entries, carried: Mapping[str, Any], length: int, shapes: Shapes) -> None:
        """Take in the only row of a prompt that was read: its entries, of which the first `length` count, and what is carried."""
        self._changed = True
        at = self._fit([*self.places, length], [*self._shapes, shapes])
        row = self.rows
        at.cache.past.copy(row, 0, prompt, 0, 0, 1, length)
        at.cache.mask[row, :length] = True
        for name, wide in at.carried.items():
            self._put_row(wide, row, carried[name], 0)
        self.places.append(length)
        self._shapes.append(shapes)

    def leave(self, row: int) -> None:
        """Let go of a row. The last one gets its number."""
        at, last = self._buffers, self.rows - 1
        assert at is not None
        if row != last:
            at.cache.past.copy(row, 0, at.cache.past, last, 0, 1, max(self.places[row], self.places[last]))
            at.cache.mask[row] = at.cache.mask[last]
            for wide in at.carried.values():
                self._put_row(wide, row, wide, last)
        at.cache.past.copy(last, 0, at.zeros, 0, 0, 1, self.places[last])
        at.cache.mask[last] = False
        self.places[row], self._shapes[row] = self.places[last], self._shapes[last]
        del self.places[last], self._shapes[last]
        self._changed = True

    def step(self, tokens: Sequence[int]) -> NDArray[Any]:
        """Feed one token a row and answer the logits [rows, vocabulary] of the next, overwritten by the next call."""
        at, rows = self._fit(self.places, self._shapes), self.rows
        call = at.call(rows)  # on a GPU binding runs the graph, before what is run here is there
        at.token[:rows, 0] = tokens
        at.position[: 1 if self._wiring.one_place else rows, 0] = self.places
        call()
        at.cache.put_each(at.new, self.places)
        self.places = [place + 1 for place in self.places]
        return at.logits[:rows]  # type: ignore[no-any-return]

    def _fit(self, places: Sequence[int], shapes: Sequence[Shapes]) -> Buffers:
        """Buffers with room for rows at these places, the newest entry included, that hold the rows that there are."""
        if self._buffers is not None and not self._changed and max(places) < self._buffers.room.entries:
            return self._buffers  # as at almost every step
        wanted = self.room_for([place + 1 for place in places], shapes)
        assert wanted is not None
        self._changed = False
        old = self._buffers
        room = wanted if old is None else self._kept(old.room, wanted)
        if old is not None and room == old.room:
            return old
        if self.nbytes(room) > self._most_bytes:
            room = wanted
        self._buffers = Buffers(self._wiring, self._session, self._memory, self._cached, room)
        for row, place in enumerate(self.places):
            assert old is not None
            self._buffers.cache.past.copy(row, 0, old.cache.past, row, 0, 1, place)
            self._buffers.cache.mask[row, :place] = True
            for name, narrow in old.carried.items():
                self._put_row(self._buffers.carried[name], row, narrow, row)
        return self._buffers

    def _kept(self, had: Room, wanted: Room) -> Room:
        """The room that there is, where it is neither too small nor much too large. Entries that nobody needs cost at every step:
        who begins alone has none."""
        room = Room(_kept(had.rows, wanted.rows), wanted.entries, wanted.carried)
        if self.rows:
            carried = self.carried.kept(dict(had.carried), dict(wanted.carried))
            room = Room(room.rows, _kept(had.entries, wanted.entries), tuple(carried.items()))
        return room

    def _put_row(self, target: Any, row: int, source: Any, source_row: int) -> None:
        put = put_row if isinstance(target, np.ndarray) else self._memory.put_row
        put(target, row, source, source_row)


def _kept(had: int, wanted: int) -> int:
    """A size that is large enough, and changes only where it must, or where a quarter would do."""
    return had if wanted <= had < 4 * wanted else wanted
