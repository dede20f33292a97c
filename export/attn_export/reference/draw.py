"""Where the inputs of a case come from: each drawn by itself, or all together by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from attn_runtime.bundle import Arrays
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import TensorSpec
from numpy.typing import NDArray


class Drawn(NamedTuple):
    """Inputs by name, and the size of every named dim in them."""

    inputs: Arrays
    sizes: dict[str, int]


#: (sizes that are asked for, seed) -> what was drawn. Where inputs depend on one another, its sizes may be others.
Draw = Callable[[Mapping[str, int], int], Drawn]


Fit = Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]


@dataclass(frozen=True)
class _AsAsked:
    """Every input drawn by itself, at just the sizes that are asked for, and then all of them made to `fit` together."""

    specs: Sequence[TensorSpec]
    fit: Fit = dict

    def __call__(self, sizes: Mapping[str, int], seed: int) -> Drawn:
        return Drawn(dict(self.fit(draw_inputs(self.specs, sizes, seed))), dict(sizes))


def independent(specs: Sequence[TensorSpec]) -> Draw:
    """Every input drawn by itself, at just the sizes that are asked for."""
    return _AsAsked(specs)


def fitted(specs: Sequence[TensorSpec], fit: Fit) -> Draw:
    """Every input drawn by itself, and then all of them made to `fit` together, at just the sizes that are asked for."""
    return _AsAsked(specs, fit)


def keeps_sizes(draw: Draw) -> bool:
    """Whether what is drawn surely has the sizes that were asked for, so that its shapes are known before."""
    return isinstance(draw, _AsAsked)
