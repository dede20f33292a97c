"""Who answers parts: one open bundle that was verified where it is, in this process or another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ...bundle import Bundle
from ...errors import AttnError, BundleError
from .. import verify
from .answers import Answering, Answers, Opening, Task, TaskOptions, file_name, table_of, task_of
from .rows import ERROR, FILE, NEED, Layout, Part, arrow_type

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Work:
    """All that a worker must know, wherever it is. `bundle` is the bundle's mark, so that no other one is taken for it.

    kept_types  Arrow's types of the kept columns in the files, where those have types
    """

    opening: Opening
    task: str
    options: TaskOptions
    layout: Layout
    sources: tuple[str, ...]
    bundle: str
    kept_types: Mapping[str, Any] = field(default_factory=dict)

    def task_of(self, bundle: Bundle) -> Task:
        return task_of(bundle, self.task, self.options, self.opening)

    def schema(self, task: Task) -> pa.Schema:
        """The columns of every file that is written, whatever its rows are."""
        import pyarrow as pa

        files = [(FILE, pa.string())] if self.layout.file else []
        kept = [(kept.name, arrow_type(kept, self.kept_types.get(kept.column))) for kept in self.layout.kept]
        front = [("source", pa.string()), ("row", pa.int64()), *files, *kept]
        return pa.schema([*front, *task.schema, (ERROR, pa.string())])


class Worker:
    """Answers parts, one after the other."""

    def __init__(self, work: Work, task: Task, answering: Answering) -> None:
        self.choice = answering.choice
        self._work, self._answering = work, answering
        self._schema, self._answers = work.schema(task), task.schema

    def answer(self, part: Part) -> pa.Table:
        """A row for each of the part's, with its answer or why there is none."""
        import pyarrow as pa

        rows, place = part.rows, part.place
        errors: list[str | None] = rows[ERROR].to_pylist()
        needs = {need.name: rows[NEED.format(need.name)].to_pylist() for need in self._work.layout.needs}
        asked = [number for number, error in enumerate(errors) if error is None]
        given = [{name: values[number] for name, values in needs.items()} for number in asked]
        answers = self._answering.answers(given) if given else Answers({}, {})
        for at, error in answers.errors.items():
            errors[asked[at]] = _told(error, given[at], self._work.layout)
        answered = table_of(answers.columns, self._answers, errors.count(None))
        if len(answered) < len(errors):
            there = np.array([error is None for error in errors])
            answered = answered.take(pa.array(np.cumsum(there) - 1, mask=~there))
        file = self._work.layout.file
        columns: dict[str, Any] = {
            "source": pa.repeat(self._work.sources[place.source], len(place)),
            "row": pa.array(np.arange(place.first, place.stop)),
            **({FILE: [file_name({file.name: value}, file) for value in needs[file.name]]} if file else {}),
            **{kept.name: rows[kept.name] for kept in self._work.layout.kept},
            **dict(zip(answered.column_names, answered.columns, strict=True)),
            ERROR: errors,
        }
        return table_of(columns, self._schema, len(place))


@contextmanager
def working(work: Work, check: bool = True) -> Iterator[Worker]:
    """A worker, once the bundle was verified here: with `check`, its answers on this machine are PyTorch's, or ParityError.

    BundleError where another bundle lies there than the run was begun with.
    """
    opening = work.opening
    if check:
        where = {n: v for n, v in opening.of_session().items() if n not in ("threads", "graph")}
        verify(opening.path, **where, graph=opening.graph)
    bundle = Bundle.open(opening.path)
    if (found := bundle_mark(bundle)) != work.bundle:
        raise BundleError(
            f"bundle {bundle.path.name}: is another one here than the run was begun with (sha256 {found[:12]}, expected "
            f"{work.bundle[:12]}); copy the same one to every machine"
        )
    task = work.task_of(bundle)
    with task.open(opening) as answering:
        yield Worker(work, task, answering)


def bundle_mark(bundle: Bundle) -> str:
    """A hash of the manifest, which has the hashes of all other files."""
    import hashlib
    import json

    return hashlib.sha256(json.dumps(bundle.manifest, sort_keys=True).encode()).hexdigest()


def _told(error: AttnError, row: Mapping[str, Any], layout: Layout) -> str:
    """The error of a row, in one line. The content of a file has no name where it is read."""
    name = file_name(row, layout.file) if layout.file else None
    return str(error).replace("(piped)", name) if name else str(error)
