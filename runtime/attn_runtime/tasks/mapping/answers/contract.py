"""What a task is to a run over rows: what it needs of a row, what it writes for one, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from ....bundle import Bundle
from ....errors import AttnError
from ..rows import Need

if TYPE_CHECKING:
    import pyarrow as pa

#: A row's answer: a value for each column of the task, and NOTES where there are some; or why there is none.
Answer = Mapping[str, Any] | AttnError
#: What is to say of an answer: a list of texts.
NOTES = "notes"
#: Columns that every row has, which no task may write.
RESERVED = ("source", "row", "file", NOTES, "error")

#: Columns, each with its type in Arrow, which is made when it is asked for.
Fields = tuple[tuple[str, Callable[[], Any]], ...]


@dataclass(frozen=True)
class Answers:
    """What rows came to, column by column.

    columns   of the task and NOTES: a value for each row that has no error, in order; NumPy's, Arrow's or a list
    errors    why a row has no answer, by its number
    """

    columns: Mapping[str, Any]
    errors: Mapping[int, AttnError]

    @classmethod
    def of_rows(cls, answers: Sequence[Answer]) -> Answers:
        errors = {number: answer for number, answer in enumerate(answers) if isinstance(answer, AttnError)}
        rows = [answer for answer in answers if not isinstance(answer, AttnError)]
        names = dict.fromkeys(name for row in rows for name in row)
        return cls({name: [row.get(name) for row in rows] for name in names}, errors)


@dataclass(frozen=True)
class TaskOptions:
    """What is asked of a task, as the call for a few inputs takes it: `classify`, `embed`, `detect`, `generate_texts`."""

    top: int = 3
    of: str | None = None
    pooling: str | None = None
    normalize: bool = False
    threshold: float = 0.5
    truncate: bool = False
    max_length: int | None = None


@dataclass(frozen=True)
class Opening:
    """Where a bundle is opened, and on what. `batch` is the most rows of a call; None for as many as the graph takes."""

    path: str
    device: str = "auto"
    backend: str | None = None
    graph: str | None = None
    precision: str | None = None
    threads: int | str | None = None
    cache: str | None = None
    batch: int | None = None

    def of_session(self) -> dict[str, Any]:
        """The arguments of `open_session` beside the path."""
        names = ("device", "backend", "graph", "precision", "threads", "cache")
        return {name: getattr(self, name) for name in names}

    def of_generator(self) -> dict[str, Any]:
        """The arguments of `open_generator` beside the path."""
        return {name: value for name, value in self.of_session().items() if name != "graph"}

    def with_threads(self, threads: int | str | None) -> Opening:
        return replace(self, threads=threads)


class Answering(Protocol):
    """An open bundle that answers rows. Used by one thread at a time."""

    choice: str

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> Answers:
        """To rows, each with values by the names of the task's needs. What is wrong with a row is told as its error."""


@dataclass(frozen=True)
class Task:
    """`part_rows` is how many rows are usually put into a part: those that take long are written sooner."""

    name: str
    needs: tuple[Need, ...]
    fields: Fields
    open: Callable[[Opening], AbstractContextManager[Answering]]
    part_rows: int

    @property
    def schema(self) -> pa.Schema:
        """Of what it answers, notes included."""
        import pyarrow as pa

        return pa.schema([*((name, type_()) for name, type_ in self.fields), (NOTES, pa.list_(pa.string()))])


Make = Callable[[Bundle, TaskOptions, Opening], Task]
