"""How good a model is on a split: mean loss, accuracy, and the share of each class that is recognised."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..recipe import Recipe, Split
from .distributed import Processes

#: Samples that one process evaluates at once.
BATCH = 64


@dataclass(frozen=True)
class Score:
    """`loss` is the mean that training minimises; `accuracy` 0..1; `recall` by label, of the labels that occur."""

    loss: float
    accuracy: float
    recall: dict[str, float]


@torch.no_grad()
def evaluate(
    module: nn.Module, recipe: Recipe, split: Split, processes: Processes, class_weights: Tensor | None = None
) -> Score:
    """Score `module` on `split`, in float32 as it is exported, every process doing its part.

    Leaves the module in eval mode.
    """
    module.eval()
    classes = len(recipe.labels) if split.targets.ndim == 1 else 0
    sums = torch.zeros(3, dtype=torch.float64, device=processes.device)  # of the loss, of units, of right samples
    by_class = torch.zeros(
        2, classes, dtype=torch.float64, device=processes.device
    )  # right samples and samples of each class
    # A predict of the recipe's own may call parts of the module, which is not enough to collect sharded parameters.
    with processes.unsharded(module) if recipe.predict else nullcontext():
        for start in range(0, len(split), BATCH * processes.size):
            global_batch = split[start : start + BATCH * processes.size]
            batch = processes.share(global_batch)
            # Sharded parameters are collected by all processes together: one without samples must join in as well.
            nothing_to_do = len(batch) == 0
            if nothing_to_do:
                batch = processes.to_device(global_batch.first(1))
            inputs = dict(batch.inputs)
            outputs = module(**inputs)
            predicted = recipe.predict(module, inputs) if recipe.predict else outputs.argmax(-1)
            if nothing_to_do:
                continue
            right = recipe.right(predicted, batch.targets).to(sums.dtype)
            sums += torch.stack(
                [
                    loss_of(recipe, outputs, batch.targets, class_weights).to(sums.dtype),
                    units_of(recipe, batch.targets),
                    right.sum(),
                ]
            )
            if classes:
                by_class[0].index_add_(0, batch.targets, right)
                by_class[1].index_add_(0, batch.targets, torch.ones_like(right))
    loss, units, right_samples = processes.sum(sums).tolist()
    right_of, count_of = processes.sum(by_class).tolist()
    recall = {
        label: r / n
        for label, r, n in zip(recipe.labels, right_of, count_of, strict=False)
        if n  # an absent class has none
    }
    return Score(loss / units, right_samples / len(split), recall)


def loss_of(recipe: Recipe, outputs: object, targets: Tensor, class_weights: Tensor | None) -> Tensor:
    """The summed loss of a batch."""
    if class_weights is None:
        return recipe.loss(outputs, targets, reduction="sum")
    return recipe.loss(outputs, targets, reduction="sum", weight=class_weights)


def units_of(recipe: Recipe, targets: Tensor) -> Tensor:
    """What the summed loss of a batch is divided by to make the mean: float64 scalar."""
    if recipe.units is None:
        return torch.tensor(float(len(targets)), dtype=torch.float64, device=targets.device)
    return recipe.units(targets).to(torch.float64).sum()
