"""What the training loop must know to train a model, without knowing which model it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

Inputs = dict[str, Tensor]
BALANCED = "balanced"  # class weights that follow from how often a class occurs


@dataclass(frozen=True)
class Split:
    """Samples in memory.

    inputs   name of a parameter of the module's forward -> [n, ...], of any dtype
    targets  [n, ...]: what the loss compares the module's outputs with
    """

    inputs: Mapping[str, Tensor]
    targets: Tensor

    def __post_init__(self) -> None:
        wrong = {name: len(tensor) for name, tensor in self.inputs.items() if len(tensor) != len(self)}
        if wrong:
            raise ValueError(f"{len(self)} targets, but inputs of other lengths: {wrong}")

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, chosen: Tensor | slice) -> Split:
        """The samples of an index tensor or a slice."""
        return Split({name: tensor[chosen] for name, tensor in self.inputs.items()}, self.targets[chosen])

    def first(self, count: int) -> Split:
        return self[:count]


def all_equal(predicted: Tensor, targets: Tensor) -> Tensor:
    """[n] float: 1 for a sample whose elements are all right, otherwise 0."""
    return (predicted == targets).flatten(1).all(1).float() if targets.ndim > 1 else (predicted == targets).float()


@dataclass(frozen=True)
class Recipe:
    """Data, loss and settings of one model's training.

    train, validation, test   the second chooses the epoch whose weights are kept; the third is looked at once, at the end
    loss          (outputs, targets, reduction="sum") -> scalar; it must be a sum over samples (or over what `units`
                  counts), so that parts of a batch can be added up. With class weights it also gets weight=[classes],
                  as torch.nn.functional.cross_entropy does
    labels        names of the classes, by the integers in targets; empty where targets are no classes
    augment       (inputs, generator) -> inputs of the same shapes, drawn from the generator alone
    predict       (module, inputs) -> [n, ...], to be compared with the targets; by default module(**inputs).argmax(-1)
    right         (predicted, targets) -> [n] float, 0..1: how right each sample is
    units         (targets) -> [n]: how much each sample counts in the mean loss, such as its tokens; by default 1
    measure       plural, in words: what accuracy counts, such as "images"
    class_weights the factor on each class's loss, "balanced" for n / (classes * n of the class), or None
    positive      of two classes, the label that sensitivity is about; by default the last one
    patience      epochs without a lower validation loss after which the training ends; None for never
    clip          largest L2 norm of the gradient of all parameters; None for no limit
    gate_lr       factor on the learning rate of parameters with a single element. Such a parameter gates a whole
                  branch; at the common rate Adam moves it by about lr a step, too slow for a short training
    build         arguments for the model's `build`, where the data asks for others than the default
    assets        file name -> JSON value, written beside the weights where they differ from the model's own
    """

    train: Split
    validation: Split
    test: Split
    loss: Callable[..., Tensor]
    labels: tuple[str, ...] = ()
    augment: Callable[[Inputs, torch.Generator], Inputs] | None = None
    predict: Callable[[nn.Module, Inputs], Tensor] | None = None
    right: Callable[[Tensor, Tensor], Tensor] = all_equal
    units: Callable[[Tensor], Tensor] | None = None
    measure: str = "samples"
    class_weights: tuple[float, ...] | str | None = None
    positive: str | None = None
    patience: int | None = None
    clip: float | None = None
    epochs: int = 6
    batch_size: int = 64
    lr: float = 2e-3
    weight_decay: float = 0.02
    betas: tuple[float, float] = (0.9, 0.95)
    warmup: float = 0.15
    gate_lr: float = 20.0
    build: Mapping[str, Any] = field(default_factory=dict)
    assets: Mapping[str, Any] = field(default_factory=dict)
