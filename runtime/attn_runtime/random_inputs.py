"""Seeded random inputs that fit a set of tensor specs; used by checks, training smoke tests and benchmarks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError
from .spec import TensorSpec, Values


def draw_inputs(specs: Sequence[TensorSpec], sizes: Mapping[str, int], seed: int) -> dict[str, NDArray[Any]]:
    """Inputs of the shapes that `sizes` (dim name -> size) gives; unnamed dims take their opt.

    Floats are distributed as their spec's `values` say, standard normal where it says nothing. Integers lie in
    [low, high), and no value comes a second time before every other has come once: an array as large as the range has
    them all, a smaller one has the first and the last among distinct ones. Booleans are True three times in four with
    the first element of the last axis True, so that a mask keeps something in every row. Same seed, same inputs.

    Raises UsageError for an integer without a range, and for `values` that the dtype can't hold.
    """
    drawn: dict[str, NDArray[Any]] = {}
    for spec in specs:
        # Seeded by name too, so that adding an input does not change what the others get.
        rng = np.random.default_rng([seed, zlib.crc32(spec.name.encode())])
        shape = spec.shape(sizes)
        if spec.dtype.startswith("float"):
            value = _floats(rng, spec, shape)
        elif spec.dtype == "bool":
            value = rng.random(shape) < 0.75
            if value.ndim and value.shape[-1]:
                value[..., 0] = True
        else:
            if spec.high is None:
                raise UsageError(
                    f'input "{spec.name}": an integer input needs a range to draw from, '
                    f"as in --input '{spec.name}:{spec.dtype}[{','.join(d.name or str(d.opt) for d in spec.dims)}]<1000'"
                )
            value = _integers(rng, spec.low or 0, spec.high, math.prod(shape)).astype(spec.dtype).reshape(shape)
        drawn[spec.name] = value
    return drawn


def bounds_of(name: str, dtype: str, values: Values) -> tuple[Any, Any]:
    """The least and the greatest number of `dtype` that `values` allow: all of its finite ones where nothing is clipped.

    Raises UsageError, naming the input, where `dtype` can't hold the distribution's numbers, or none between its bounds.
    """
    limit = float(np.finfo(dtype).max)
    numbers = values.numbers
    # Its middle is e to the power of the mean, and e to the power of 710 is beyond any dtype.
    if values.kind == "lognormal":
        numbers["mean"] = math.exp(numbers["mean"]) if numbers["mean"] < 709 else math.inf
    if beyond := [value for value in numbers.values() if abs(value) > limit]:
        raise UsageError(f'input "{name}": {values}: {dtype} ends at {limit:g}, before {beyond[0]:g}')
    if values.low is None or values.high is None:
        return np.finfo(dtype).min, np.finfo(dtype).max
    low, high = (np.dtype(dtype).type(value) for value in (values.low, values.high))
    # What rounding to the dtype moved over a bound goes back; the upper bound of a uniform one is outside.
    if float(low) < values.low:
        low = np.nextafter(low, high.dtype.type(math.inf))
    if float(high) > values.high or (values.kind == "uniform" and float(high) >= values.high):
        high = np.nextafter(high, high.dtype.type(-math.inf))
    if low > high:
        raise UsageError(f'input "{name}": {values}: {dtype} has no number in between; widen the range')
    return low, high


def _floats(rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    values = spec.values
    if values is None:
        return rng.standard_normal(shape, dtype=np.float32).astype(spec.dtype, copy=False)
    low, high = bounds_of(spec.name, spec.dtype, values)
    drawn_as: Any = np.float64 if spec.dtype == "float64" else np.float32
    with np.errstate(over="ignore"):  # beyond the dtype's end is beyond a bound, and is clipped
        if values.kind == "uniform":
            assert values.low is not None and values.high is not None
            share = rng.random(shape, dtype=drawn_as)
            value = values.low * (1 - share) + values.high * share  # high - low could be beyond the dtype's end
        else:
            assert values.mean is not None and values.std is not None
            value = values.mean + values.std * rng.standard_normal(shape, dtype=drawn_as)
            if values.kind == "lognormal":
                value = np.exp(value)
        return np.asarray(
            np.clip(np.asarray(value).astype(spec.dtype, copy=False), low, high)
        )  # clip makes a scalar of rank 0


def _integers(rng: np.random.Generator, low: int, high: int, count: int) -> NDArray[Any]:
    """`count` values of [low, high) in random order, drawn without replacement as far as the range goes.

    A table's first and last row, and an id that a model treats apart (padding, a mask, the end), are where faults sit.
    """
    wide: Any = np.uint64 if high > 2**63 else np.int64
    size = high - low
    if count < 2:
        return rng.integers(low, high - 1, count, dtype=wide, endpoint=True)
    if count >= size:
        rest = rng.integers(low, high - 1, count - size, dtype=wide, endpoint=True)
        value = np.concatenate([np.arange(low, high, dtype=wide), rest])
    else:
        ends = np.array([low, high - 1], dtype=wide)
        if size - 2 > 2**62:  # beyond what choice() takes, and where two alike are next to impossible
            inner = rng.integers(low + 1, high - 2, count - 2, dtype=wide, endpoint=True)
        else:
            inner = rng.choice(size - 2, count - 2, replace=False, shuffle=False).astype(wide) + wide(low + 1)
        value = np.concatenate([ends, inner])
    rng.shuffle(value)
    return value
