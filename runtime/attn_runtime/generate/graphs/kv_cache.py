"""The past keys and values of every row, in buffers of one capacity.

Nothing here grows with each step: one entry a row is written, and the mask's bit for it is set. When the buffers are full,
ones of twice the capacity take their place, so that all the copying of a generation of n tokens comes to less than 2n entries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...spec import TensorSpec
from .buffers import Memory, Stack

#: Fewest entries of a cache that may be smaller: below it a step gets no faster.
SMALLEST = 16


def capacity_for(entries: int, allowed: tuple[int, int]) -> int:
    """The least power of two, 16 or more, that holds so many entries; within what the graph allows."""
    return min(max(SMALLEST, 1 << max(entries - 1, 0).bit_length(), allowed[0]), allowed[1])


class Entries:
    """One tensor [rows, heads, places, size] for each name of the cache; those of one form lie in one stack."""

    def __init__(self, memory: Memory, specs: Mapping[str, TensorSpec], rows: int, places: int) -> None:
        together: dict[tuple[str, int, int], list[str]] = {}
        for name, spec in specs.items():
            together.setdefault((spec.dtype, spec.dims[1].opt, spec.dims[3].opt), []).append(name)
        self.stacks: list[Stack] = []
        self.by_name: dict[str, Any] = {}
        for (dtype, heads, size), names in together.items():
            stack = memory.stack(len(names), (rows, heads, places, size), dtype)
            self.stacks.append(stack)
            self.by_name.update(zip(names, stack.parts, strict=True))

    def copy(
        self, row: int, place: int, source: Entries, source_row: int, source_place: int, rows: int, places: int
    ) -> None:
        """See `Stack.copy`."""
        for stack, other in zip(self.stacks, source.stacks, strict=True):
            stack.copy(row, place, other, source_row, source_place, rows, places)

    def clear(self) -> None:
        for stack in self.stacks:
            stack.clear()

    @property
    def moved(self) -> int:
        """Bytes written by copies so far."""
        return sum(stack.moved for stack in self.stacks)


class Cache:
    """Buffers of one capacity. `mask` is bool [rows, capacity]: which entries are filled."""

    def __init__(self, memory: Memory, specs: Mapping[str, TensorSpec], mask: NDArray[np.bool_]) -> None:
        self.rows, self.capacity = rows, capacity = mask.shape
        self.past = Entries(memory, specs, rows, capacity)
        self.mask = mask
        self._new_spare = partial(Entries, memory, specs, 1, capacity)
        self._spare: Entries | None = None

    def clear(self) -> None:
        self.mask[...] = False
        self.past.clear()  # what is masked is multiplied by zero, which must not be a NaN of an earlier generation

    def put_prompt(self, prompt: Entries, lengths: Sequence[int], copies: int) -> None:
        """Take over the entries of a prompt: row i of it goes to the rows i * copies and up, `copies` of them.

        Of a prompt that is longer than the cache, which leaves no room for an answer, what fits.
        """
        lengths = [min(length, self.capacity) for length in lengths]
        if copies == 1:
            self.past.copy(0, 0, prompt, 0, 0, self.rows, max(lengths))
        for row, length in enumerate(lengths):
            for target in range(row * copies, (row + 1) * copies):
                if copies > 1:
                    self.past.copy(target, 0, prompt, row, 0, 1, length)
                self.mask[target, :length] = True

    def put(self, new: Entries, place: int) -> None:
        """Write the newest entry of every row to one place."""
        for stack, newest in zip(self.past.stacks, new.stacks, strict=True):
            stack.write(place, newest)
        self.mask[:, place] = True

    def put_each(self, new: Entries, places: Sequence[int]) -> None:
        """Write the newest entry of as many rows as there are places, each to its own."""
        for stack, newest in zip(self.past.stacks, new.stacks, strict=True):
            stack.write_each(places, newest)
        for row, place in enumerate(places):
            self.mask[row, place] = True

    def put_row(self, new: Entries, row: int, place: int) -> None:
        """Write the newest entry of one row."""
        self.past.copy(row, place, new, row, 0, 1, 1)
        self.mask[row, place] = True

    def put_several(self, new: Entries, row: int, rows: int, place: int, count: int) -> None:
        """Write the first `count` of the newest entries of `rows` rows from `row` on, from `place` on."""
        self.past.copy(row, place, new, row, 0, rows, count)
        self.mask[row : row + rows, place : place + count] = True

    def reorder(self, parents: Sequence[int], firsts: Sequence[int], lengths: Sequence[int]) -> None:
        """Let row i hold what row parents[i] holds, of which lengths[i] entries count, as many as row i has now, and those before
        firsts[i] are in both already.

        In place, and only rows that another one takes the place of are copied. Masks stay: rows that go on from one
        another are of one prompt.
        """
        done = list(moves(parents))
        for number, (target, source) in enumerate(done):
            if SPARE in (target, source) and self._spare is None:
                self._spare = self._new_spare()
            # What goes to the spare row is fetched from there by one row, before anything else is put there.
            row = next(reader for reader, read in done[number:] if read == SPARE) if target == SPARE else target
            first, count = firsts[row], lengths[row] - firsts[row]
            if target == SPARE:
                assert self._spare is not None
                self._spare.copy(0, first, self.past, source, first, 1, count)
            elif source == SPARE:
                assert self._spare is not None
                self.past.copy(target, first, self._spare, 0, first, 1, count)
            else:
                self.past.copy(target, first, self.past, source, first, 1, count)

    def take_over(self, smaller: Cache) -> None:
        """Let this cache, which is clear, hold what a smaller one holds."""
        self.past.copy(0, 0, smaller.past, 0, 0, self.rows, smaller.capacity)
        self.mask[:, : smaller.capacity] = smaller.mask


#: A row that is none of the cache's.
SPARE = -1


def moves(parents: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(target, source) copies, one after the other, that let row i hold what row parents[i] held, with one SPARE row.

    A row is written once nobody waits for what it holds. What is left then are circles: of each, one row goes to the spare.
    """
    waiting = {row: parent for row, parent in enumerate(parents) if row != parent}
    readers = Counter(waiting.values())
    ready = [row for row in waiting if not readers[row]]
    while waiting:
        if not ready:
            row = next(iter(waiting))
            yield SPARE, row
            reader = next(each for each, parent in waiting.items() if parent == row)
            waiting[reader] = SPARE
            ready.append(row)
        row = ready.pop()
        parent = waiting.pop(row)
        yield row, parent
        readers[parent] -= 1
        if parent in waiting and not readers[parent]:
            ready.append(parent)
