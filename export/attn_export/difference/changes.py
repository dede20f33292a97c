"""Things that have a name, told of two sides: which of them differ, and how many are the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from attn_runtime.escape import printable
from attn_runtime.text_format import columns, finite_or_none

#: Rows of a table; --json has all.
MOST_ROWS = 16
_LONGEST = 72

Told = str | int


@dataclass(frozen=True)
class Change:
    """One thing that differs. `a` and `b` are None on the side that has it not; `note` says how far they are apart.

    relative    of tensors: max|b - a| over max|a|; None where it can't be told
    """

    what: str
    a: Told | None
    b: Told | None
    note: str = ""
    relative: float | None = None

    def to_json(self) -> dict[str, Any]:
        told: dict[str, Any] = {"what": self.what, "a": self.a, "b": self.b}
        if self.note:
            told["note"] = self.note
        if self.relative is not None:
            told["relative"] = finite_or_none(self.relative)
        return told


@dataclass(frozen=True)
class Section:
    """Things of one kind. `same` counts those that do not differ; `key` is what JSON calls it."""

    name: str
    changes: tuple[Change, ...]
    same: int
    key: str

    def lines(self) -> Iterator[str]:
        """A heading and a table; nothing where nothing differs."""
        if not self.changes:
            return
        yield f"{printable(self.name)}: {len(self.changes)} differ, {self.same} the same"
        noted = any(change.note for change in self.changes)
        rows = [("", "A", "B", "")[: 4 if noted else 3]]
        for change in self.changes[:MOST_ROWS]:
            cells = change.what, _cell(change.a), _cell(change.b), change.note
            rows.append(tuple(printable(cell, _LONGEST) for cell in cells)[: 4 if noted else 3])
        yield from (f"  {line}" for line in columns(rows).split("\n"))
        if len(self.changes) > MOST_ROWS:
            yield f"  and {len(self.changes) - MOST_ROWS} more; --json has them all"

    def to_json(self) -> dict[str, Any]:
        return {"same": self.same, "differ": [change.to_json() for change in self.changes]}


def section(name: str, a: Mapping[str, Told], b: Mapping[str, Told], key: str = "") -> Section:
    """What `a` and `b` tell under one name is compared; those of `a` come first, in its order."""
    names = dict.fromkeys((*a, *b))
    changes = tuple(Change(what, a.get(what), b.get(what)) for what in names if a.get(what) != b.get(what))
    return Section(name, changes, len(names) - len(changes), key or name.replace(" ", "_"))


def _cell(told: Told | None) -> str:
    return "-" if told is None else str(told)
