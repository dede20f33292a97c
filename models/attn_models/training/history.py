"""The history of a training: one row an epoch, in the training state and in log.csv."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Row:
    """After an epoch. `step` counts the optimiser's steps, `lr` is that of the last one, `accuracy` (0..1) is of the
    validation split, `seconds` are those of the whole training so far."""

    epoch: int
    step: int
    lr: float
    train_loss: float
    validation_loss: float
    accuracy: float
    seconds: float


def best(rows: list[Row]) -> Row:
    """The epoch with the lowest validation loss, the earlier of equal ones."""
    return min(rows, key=lambda row: row.validation_loss)


def as_csv(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        rounded = {"lr": f"{row.lr:.6g}", "seconds": f"{row.seconds:.2f}"}
        writer.writerow(asdict(row) | rounded)
    return text.getvalue()
