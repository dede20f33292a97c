"""Where the inputs of a case come from: each drawn by itself, or all together by a function of the user's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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


def independent(specs: Sequence[TensorSpec]) -> Draw:
    """Every input drawn by itself, at just the sizes that are asked for."""
    return lambda sizes, seed: Drawn(draw_inputs(specs, sizes, seed), dict(sizes))


def fitted(
    specs: Sequence[TensorSpec], fit: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]]
) -> Draw:
    """Every input drawn by itself, and then all of them made to `fit` together, at just the sizes that are asked for."""
    return lambda sizes, seed: Drawn(dict(fit(draw_inputs(specs, sizes, seed))), dict(sizes))
