"""How fast each parameter learns, and when."""

from __future__ import annotations

import math

from torch import nn

from ..recipe import Recipe


def parameter_groups(module: nn.Module, recipe: Recipe) -> list[dict[str, object]]:
    """Gates (one element) learn faster; they, biases and norms are not pulled towards zero by weight decay."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    gate = [p for p in parameters if p.numel() == 1]
    flat = [p for p in parameters if p.numel() > 1 and p.ndim == 1]
    full = [p for p in parameters if p.numel() > 1 and p.ndim != 1]
    groups: list[dict[str, object]] = [
        {"params": full, "weight_decay": recipe.weight_decay, "lr_factor": 1.0},
        {"params": flat, "weight_decay": 0.0, "lr_factor": 1.0},
        {"params": gate, "weight_decay": 0.0, "lr_factor": recipe.gate_lr},
    ]
    return [group for group in groups if group["params"]]


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Of step 0..steps-1: up in a straight line for the share `warmup` of the steps, then down along a cosine."""
    warm = max(1, round(recipe.warmup * steps))
    if step < warm:
        return recipe.lr * (step + 1) / warm
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))
