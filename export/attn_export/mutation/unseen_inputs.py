"""Inputs that no golden case holds: other seeds and sizes, and the edges of what an input may be."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from attn_runtime.bundle import Arrays, Case
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import TensorSpec, named_dims

from ..reference import MAGNITUDES, corner_cases, is_mask, scaled, smaller

#: Inputs of one case stay under this many bytes where the ranges allow, sizes drawn between the corners, and cases that
#: count through the values of a whole-number input.
_MAX_BYTES, _BETWEEN, _COUNTING = 4 << 20, 4, 8


def fresh_inputs(inputs: Sequence[TensorSpec], seed: int) -> list[Case[Arrays]]:
    """Cases without answers. The first are standard normal at the corners of the ranges and between them; then come edges,
    at the sizes of the odd corner: masks with an empty row, masks padded on the left, large and tiny numbers, the first and
    the last value of a whole number, and each of its values where these are few."""
    rng = random.Random(seed)
    corners = {c.name: _fitting(inputs, c.sizes) for c in corner_cases(inputs)}
    between = {f"between {n + 1}": _fitting(inputs, _drawn(inputs, rng)) for n in range(_BETWEEN)}
    cases: list[Case[Arrays]] = []
    for number, (name, sizes) in enumerate({**corners, **between}.items()):
        cases.append(Case(name, sizes, draw_inputs(inputs, sizes, seed + number), {}))
    sizes = corners.get("odd", corners["min"])
    base = Case("edge", sizes, draw_inputs(inputs, sizes, seed + len(cases)), {})
    cases.extend(edges(inputs, base))
    return cases


def edges(inputs: Sequence[TensorSpec], base: Case[Arrays]) -> Iterator[Case[Arrays]]:
    """`base` with one kind of input at an edge of what it may be."""
    for spec in inputs:
        value = base.inputs[spec.name]
        if is_mask(spec) and value.size:
            for name, mask in _masks(value).items():
                yield _with(base, f"{spec.name} {name}", {spec.name: mask})
        elif spec.high is not None and value.size:
            low, high = spec.low or 0, spec.high
            for name, one in (("first", low), ("last", high - 1)):
                yield _with(base, f"{spec.name} all {name}", {spec.name: np.full_like(value, one)})
            for number in range(min(_COUNTING, -(-(high - low) // value.size))):
                counted = (np.arange(value.size) + number * value.size) % (high - low) + low
                ids = counted.reshape(value.shape).astype(value.dtype)
                yield _with(base, f"{spec.name} counted {number + 1}", {spec.name: ids})
    floats = [spec for spec in inputs if spec.dtype.startswith("float")]
    for factor in MAGNITUDES.values() if floats else ():
        changed = {spec.name: scaled(spec, base.inputs[spec.name], factor) for spec in floats}
        yield _with(base, f"inputs times {factor:g}", changed)


def _masks(value: np.ndarray[Any, Any]) -> Arrays:
    empty, left = np.ones_like(value), np.ones_like(value)
    empty.reshape(-1, value.shape[-1])[0] = 0
    left[..., : value.shape[-1] // 2] = 0
    short = np.zeros_like(value)
    short[..., :1] = 1
    return {
        "with an empty row": empty,
        "padded on the left": left,
        "all on": np.ones_like(value),
        "one on": short,
    }


def _with(base: Case[Arrays], name: str, changed: Arrays) -> Case[Arrays]:
    return replace(base, name=name, inputs={**base.inputs, **changed})


def _drawn(inputs: Sequence[TensorSpec], rng: random.Random) -> dict[str, int]:
    return {name: rng.randint(dim.min, dim.max) for name, dim in named_dims(inputs).items()}


def _fitting(inputs: Sequence[TensorSpec], sizes: Mapping[str, int]) -> dict[str, int]:
    """The sizes, those farthest above their least halved until the inputs are small."""
    dims, fitting = named_dims(inputs), dict(sizes)
    while sum(np.dtype(s.dtype).itemsize * int(np.prod(s.shape(fitting))) for s in inputs) > _MAX_BYTES:
        if (fewer := smaller(fitting, dims)) is None:
            break
        fitting = fewer
    return fitting
