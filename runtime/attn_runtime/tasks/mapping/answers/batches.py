"""Rows of a part in batches: like lengths together, so that little is padded; what fails in a batch is looked for alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....errors import AttnError, InputError, UsageError
from ....session import Session, batches
from .columns import column_of
from .contract import NOTES, Answers, Fields
from .fronts import Front, Ready

Array = NDArray[Any]
#: What a task makes of the outputs for a batch.
Reader = Callable[[Mapping[str, Array], Sequence[Ready]], Answers]


class Batched:
    """Answers rows with one graph. `batch` is the most rows of a call, as far as the graph takes so many; `fields` are the
    columns that `read` fills."""

    def __init__(self, session: Session, front: Front, read: Reader, batch: int | None, fields: Fields) -> None:
        self.choice = session.choice
        self._session, self._front, self._read, self._fields = session, front, read, fields
        rows = session.inputs[0].dims[0]
        self._least, self._most = rows.min, min(rows.max, batch or rows.max)
        if self._most < self._least:
            raise UsageError(
                f"batch: got {batch}, {session.where} takes {rows.min}..{rows.max} rows; give one of these"
            )

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> Answers:
        """Raises what the engine raises where it answers no row at all."""
        import pyarrow as pa

        prepared = self._front.prepare(rows)
        ready = {number: one for number, one in enumerate(prepared) if isinstance(one, Ready)}
        errors = {number: one for number, one in enumerate(prepared) if isinstance(one, AttnError)}
        # The longest first: where memory does not suffice, that shows at once.
        order = sorted(ready, key=lambda number: (-ready[number].length, str(ready[number].key)))
        failed: dict[int, AttnError] = {}
        parts: list[tuple[list[int], Answers]] = []
        for batch in batches([ready[number].key for number in order], self._most):
            for numbers, found in self._answered([order[at] for at in batch], ready):
                parts.append(([n for at, n in enumerate(numbers) if at not in found.errors], found))
                failed |= {numbers[at]: error for at, error in found.errors.items()}
        _refuse_a_broken_engine([failed.get(number) for number in order])
        done = [number for numbers, _ in parts for number in numbers]
        columns: dict[str, Any] = {NOTES: [list(ready[number].notes) or None for number in sorted(done)]}
        if done:
            in_order = pa.array(np.argsort(done))
            for name, type_ in self._fields:
                filled = [found.columns[name] for numbers, found in parts if numbers]
                columns[name] = column_of(filled, type_()).take(in_order)
        return Answers(columns, errors | failed)

    def _answered(self, numbers: list[int], ready: Mapping[int, Ready]) -> list[tuple[list[int], Answers]]:
        """Of one batch; of its rows one by one where it fails."""
        rows = [ready[number] for number in numbers]
        try:
            # A graph of a fixed batch is given the last row again.
            filled = [*rows, *[rows[-1]] * (self._least - len(rows))]
            outputs = self._session.run(self._front.feed(filled))
            outputs = {name: value[: len(rows)] if value.ndim else value for name, value in outputs.items()}
            return [(numbers, self._read(outputs, rows))]
        except AttnError as error:
            if len(rows) == 1:
                return [(numbers, Answers({}, {0: error}))]
        return [found for number in numbers for found in self._answered([number], ready)]


def finite(values: Array) -> NDArray[np.bool_]:
    """Which rows of an output are finite."""
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))


def not_finite(session: Session) -> InputError:
    return InputError(f"{session.where}: the answer is not finite")


def _refuse_a_broken_engine(errors: Sequence[AttnError | None]) -> None:
    """Where no row was answered, and not for what the row is, the next ones won't be either."""
    if errors and all(error is not None and not isinstance(error, InputError) for error in errors):
        assert errors[0] is not None
        raise errors[0]
