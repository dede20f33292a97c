"""What a finished training says of itself: metrics.json, and the same in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict


@dataclass(frozen=True)
class Metrics:
    """Shares are 0..1 and of the test split, which the weights of `best_epoch` saw once.

    measure       plural: what accuracy counts
    first_loss    mean training loss of the first epoch, last_loss of the last
    validation_loss, test_loss   of the weights that were written
    epochs        that were trained; epochs_planned may be more, if the training ended early
    gates         parameters of one element
    recall        of each class, the share that was recognised
    positive      of two classes, the one that sensitivity is the recall of; specificity is that of the other one
    """

    model: str
    measure: str
    accuracy: float
    test_samples: int
    validation_samples: int
    train_samples: int
    test_loss: float
    validation_loss: float
    first_loss: float
    last_loss: float
    best_epoch: int
    epochs: int
    epochs_planned: int
    seconds: float
    batch_size: int
    accumulate: int
    precision: str
    class_weights: list[float] | None
    seed: int
    processes: int
    fsdp: bool
    device: str
    gates: dict[str, float]
    recall: dict[str, float]
    positive: str | None
    sensitivity: float | None
    specificity: float | None

    def in_words(self) -> list[str]:
        """Lines for a terminal."""
        gates = "".join(f", {gate} {value:.3f}" for gate, value in self.gates.items())
        lines = [
            f"test accuracy {100 * self.accuracy:.2f} % of {self.test_samples} {self.measure}{gates}, "
            f"{self.seconds:.0f} s"
        ]
        if self.sensitivity is not None and self.specificity is not None:
            negative = next(label for label in self.recall if label != self.positive)
            lines.append(
                f"sensitivity {100 * self.sensitivity:.1f} % ({self.positive} recognised), "
                f"specificity {100 * self.specificity:.1f} % ({negative} recognised)"
            )
        if self.best_epoch < self.epochs or self.epochs < self.epochs_planned:
            early = f", ended early of {self.epochs_planned}" if self.epochs < self.epochs_planned else ""
            lines.append(f"weights of epoch {self.best_epoch} of {self.epochs}{early}: the lowest validation loss")
        return lines


class TwoSided(TypedDict):
    positive: str | None
    sensitivity: float | None
    specificity: float | None


def two_sided(recall: dict[str, float], labels: tuple[str, ...], positive: str | None) -> TwoSided:
    """Of a model with two classes, Nones for others. `positive` None: the last label."""
    if len(labels) != 2 or len(recall) != 2:
        return {"positive": None, "sensitivity": None, "specificity": None}
    positive = labels[1] if positive is None else positive
    negative = next(label for label in labels if label != positive)
    return {"positive": positive, "sensitivity": recall[positive], "specificity": recall[negative]}
