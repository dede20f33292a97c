"""Rows of a part in batches: like lengths together, so that little is padded; what fails in a batch is looked for alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import AttnError, InputError, UsageError
from ....session import Session, batches
from .contract import NOTES, Answer
from .fronts import Front, Ready

Array = NDArray[Any]
#: What a task makes of the outputs for a batch: an answer for each row.
Reader = Callable[[Mapping[str, Array], Sequence[Ready]], Iterable[Answer]]


class Batched:
    """Answers rows with one graph. `batch` is the most rows of a call, as far as the graph takes so many."""

    def __init__(self, session: Session, front: Front, read: Reader, batch: int | None) -> None:
        self.choice = session.choice
        self._session, self._front, self._read = session, front, read
        rows = session.inputs[0].dims[0]
        self._least, self._most = rows.min, min(rows.max, batch or rows.max)
        if self._most < self._least:
            raise UsageError(
                f"batch: got {batch}, {session.where} takes {rows.min}..{rows.max} rows; give one of these"
            )

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """One for each row. Raises what the engine raises where it answers no row at all."""
        found: list[Answer] = []
        ready: dict[int, Ready] = {}
        for number, one in enumerate(self._front.prepare(rows)):
            if isinstance(one, AttnError):
                found.append(one)
            else:
                ready[number] = one
                found.append({})
        # The longest first: where memory does not suffice, that shows at once.
        order = sorted(ready, key=lambda number: (-ready[number].length, str(ready[number].key)))
        for batch in batches([ready[number].key for number in order], self._most):
            numbers = [order[at] for at in batch]
            for number, answer in zip(numbers, self._answered([ready[n] for n in numbers]), strict=True):
                found[number] = answer
        _refuse_a_broken_engine([found[number] for number in order])
        return found

    def _answered(self, rows: Sequence[Ready]) -> list[Answer]:
        try:
            filled = [
                *rows,
                *[rows[-1]] * (self._least - len(rows)),
            ]  # a graph of a fixed batch is given the last row again
            outputs = self._session.run(self._front.feed(filled))
            outputs = {name: value[: len(rows)] if value.ndim else value for name, value in outputs.items()}
            return [_with_notes(answer, row) for answer, row in zip(self._read(outputs, rows), rows, strict=True)]
        except AttnError as error:
            if len(rows) == 1:
                return [error]
            return [answer for row in rows for answer in self._answered([row])]


def finite(values: Array) -> NDArray[np.bool_]:
    """Which rows of an output are finite."""
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))


def not_finite(session: Session) -> InputError:
    return InputError(f"{session.where}: the answer is not finite")


def _with_notes(answer: Answer, row: Ready) -> Answer:
    return {**answer, NOTES: list(row.notes)} if row.notes and not isinstance(answer, AttnError) else answer


def _refuse_a_broken_engine(answers: Sequence[Answer]) -> None:
    """Where no row was answered, and not for what the row is, the next ones won't be either."""
    if answers and all(isinstance(answer, AttnError) and not isinstance(answer, InputError) for answer in answers):
        assert isinstance(answers[0], AttnError)
        raise answers[0]
