"""What the training loop must know to train a model, without knowing which model it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Samples in memory: inputs [n, ...] as the module takes them, targets [n] int64."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def first(self, count: int) -> Split:
        return Split(self.inputs[:count], self.targets[:count])


@dataclass(frozen=True)
class Recipe:
    """Data, loss and settings of one model's training.

    loss         (outputs, targets, reduction="sum") -> scalar; it must be a sum over samples, so that processes
                 with different numbers of samples can be added up
    augment      (inputs, generator) -> inputs of the same shape, drawn from the generator alone; None for none
    gate_lr      factor on the learning rate of parameters with a single element. Such a parameter gates a whole
                 branch; at the common rate Adam moves it by about lr a step, too slow for a short training
    """

    train: Split
    test: Split
    labels: tuple[str, ...]
    loss: Callable[..., Tensor]
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None
    epochs: int = 6
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    warmup: float = 0.15
    gate_lr: float = 20.0
