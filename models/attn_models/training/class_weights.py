"""Weights that make a rare class count as much in the loss as a common one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from attn_runtime.errors import UsageError
from torch import Tensor

from ..recipe import BALANCED, Recipe


def class_weights(recipe: Recipe, requested: str | Sequence[float] | None) -> Tensor | None:
    """float32 [classes], with a mean of 1 over the training samples for "balanced"; None for equal weights.

    `requested` is "balanced", "none", the weights themselves, or None for what the recipe says. A balanced weight is
    samples / (classes * samples of the class), King and Zeng 2001 (Logistic regression in rare events data).
    Raises UsageError where targets are no classes, a class has no sample, or the number of weights differs.
    """
    weights = recipe.class_weights if requested is None else requested
    if weights is None or weights == "none":
        return None
    classes, targets = len(recipe.labels), recipe.train.targets
    if not classes or targets.ndim != 1:
        raise UsageError("class weights: this model's targets are no classes of whole samples; leave the weights out")
    if isinstance(weights, str):
        if weights != BALANCED:
            raise UsageError(f'class weights: got "{weights}"; expected {BALANCED}, none, or a weight for each class')
        counts = torch.bincount(targets, minlength=classes).double()
        if missing := [label for label, count in zip(recipe.labels, counts.tolist(), strict=True) if not count]:
            raise UsageError(f"class weights: no training sample of {', '.join(missing)}; leave the weights out")
        return (len(targets) / (classes * counts)).float()
    if len(weights) != classes:
        raise UsageError(
            f"class weights: got {len(weights)}, expected {classes}, one for each of {', '.join(recipe.labels)}"
        )
    return torch.tensor([float(weight) for weight in weights])
