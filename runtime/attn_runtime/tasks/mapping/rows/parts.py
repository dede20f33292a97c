"""Rows that are answered, written and counted as one: a part of a source, told by its first row and the one behind its last."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

#: The column of a part that says why a row could not be read; None where it was.
ERROR = "error"
_NAME = re.compile(r"part-(\d{5,})-(\d{12,})-(\d{12,})(-end)?\.parquet")


@dataclass(frozen=True)
class Place:
    """Rows `first` up to `stop` of source number `source`; `last` where no rows of it follow."""

    source: int
    first: int
    stop: int
    last: bool

    @property
    def file(self) -> str:
        """What its file is called: what is done is told by the names of the files that are there."""
        return f"part-{self.source:05}-{self.first:012}-{self.stop:012}{'-end' if self.last else ''}.parquet"

    @classmethod
    def of_file(cls, name: str) -> Place | None:
        """The place that a file's name tells; None of another file."""
        told = _NAME.fullmatch(name)
        return Place(int(told[1]), int(told[2]), int(told[3]), bool(told[4])) if told else None

    def __len__(self) -> int:
        return self.stop - self.first


@dataclass(frozen=True)
class Part:
    """A place and its rows, as a pyarrow table: what the task needs, what is kept, and ERROR. `total` is how many rows the
    source has in all, or seems to have by the part of it that was read."""

    place: Place
    rows: pa.Table
    total: int

    def __reduce__(self) -> tuple[Any, ...]:
        return _from_bytes, (self.place, to_bytes(self.rows), self.total)


def _from_bytes(place: Place, data: bytes, total: int) -> Part:
    return Part(place, from_bytes(data), total)


def to_bytes(table: pa.Table) -> bytes:
    """A table on its way to another process."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def from_bytes(data: bytes) -> pa.Table:
    """What `to_bytes` made."""
    import pyarrow as pa

    return pa.ipc.open_stream(pa.py_buffer(data)).read_all()


class Done:
    """Which rows of one source need not be answered again."""

    def __init__(self, places: Iterable[Place] = ()) -> None:
        self.places = sorted(places, key=lambda place: place.first)

    @property
    def all(self) -> bool:
        """Whether every row is done, which is known once the last one is."""
        at = 0
        for place in self.places:
            if place.first != at:
                return False
            at = place.stop
        return bool(self.places) and self.places[-1].last

    def ahead(self, row: int) -> tuple[int, bool]:
        """(the row at which this changes, whether `row` is done); -1 for a row that never comes."""
        for place in self.places:
            if place.first <= row < place.stop:
                return place.stop, True
            if row < place.first:
                return place.first, False
        return -1, False


def cut(rows: Iterable[T], done: Done, most: int) -> Iterator[tuple[int, Sequence[T], bool]]:
    """(number of the first row, rows, whether they are the last ones) for all that are not done, up to `most` at a time."""
    number, held = 0, list[T]()
    change, skipped = done.ahead(0)
    first = 0
    for row in rows:
        if number == change:
            if held:
                yield first, held, False
                held = []
            change, skipped = done.ahead(number)
        if not skipped:
            if len(held) == most:  # only now is it known that another one follows
                yield first, held, False
                held = []
            if not held:
                first = number
            held.append(row)
        number += 1
    if held or not number:
        yield first, held, True
