"""Seeded random inputs that fit a set of tensor specs; used by checks, training smoke tests and benchmarks."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .spec import TensorSpec


def draw_inputs(specs: Sequence[TensorSpec], sizes: Mapping[str, int], seed: int) -> dict[str, NDArray[Any]]:
    """Inputs of the shapes that `sizes` (dim name -> size) gives; unnamed dims take their opt.

    Floats are standard normal, integers uniform in [low, high), booleans True three times in four with the first
    element of the last axis True, so that a mask keeps something in every row. Same seed, same inputs.
    """
    drawn: dict[str, NDArray[Any]] = {}
    for spec in specs:
        # Seeded by name too, so that adding an input does not change what the others get.
        rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
        shape = spec.shape(sizes)
        if spec.dtype.startswith("float"):
            value = rng.standard_normal(shape, dtype=np.float32).astype(spec.dtype)
        elif spec.dtype == "bool":
            value = rng.random(shape) < 0.75
            if value.ndim and value.shape[-1]:
                value[..., 0] = True
        else:
            if spec.high is None:
                raise UsageError(
                    f'input "{spec.name}": an integer input needs a range to draw from, '
                    f"as in '{spec.name}:{spec.dtype}[{','.join(d.name or str(d.opt) for d in spec.dims)}]<1000'"
                )
            value = rng.integers(spec.low or 0, spec.high, shape).astype(spec.dtype)
        drawn[spec.name] = value
    return drawn
