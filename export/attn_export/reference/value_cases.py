"""Cases of unusual values: large and tiny inputs, masks with an empty row or padding on the left.

Standard normal inputs and masks that keep the first element meet neither an exponential that overflows, nor an epsilon,
nor the guard for a row in which all is masked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Tolerance
from attn_runtime.spec import Dim, TensorSpec, named_dims
from numpy.typing import NDArray

from .draw import Draw

if TYPE_CHECKING:
    from .settled_answers import Ask

#: The factor of every float input in a case of this name.
MAGNITUDES = {"large": 100.0, "tiny": 1e-3}
#: Names of cases that a graph in a narrower type is not held to: at 100 times the usual inputs its own range ends.
FP32_ONLY = frozenset(MAGNITUDES)
#: Sizes of the dynamic dims, in order, where the ranges allow: small, and no two alike.
_SIZES = (5, 7, 9, 11, 13, 15)
_MOST_BYTES = 1 << 19
#: From so many bytes of weights on, a call takes as long as reading them several times: the smallest sizes will do.
_HEAVY_BYTES = 1 << 30


@dataclass
class ValueCases:
    """`answers` as PyTorch gave them; `left_out` says which cases prove nothing, and why."""

    answers: list[Case[Arrays]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def value_cases(
    inputs: Sequence[TensorSpec],
    draw: Draw,
    ask: Ask,
    tolerance: Tolerance,
    seed: int,
    weight_bytes: int = 0,
) -> ValueCases:
    """What PyTorch, `ask`, answers at unusual values of what `draw` draws, where its answers are finite and settled.

    `weight_bytes` is how much the module holds: the larger it is, the smaller the cases.
    """
    from .settled_answers import settled  # it brings torch, which those who only ask for a case's kind do without

    found = ValueCases()
    masks = [spec for spec in inputs if is_mask(spec)]
    floats = [spec.name for spec in inputs if spec.dtype.startswith("float")]
    if not floats and not masks:
        return found
    drawn = draw(small_sizes(inputs, weight_bytes), seed)
    base = Case("usual", drawn.sizes, drawn.inputs, {})
    usual = cache(lambda: ask(base, base.inputs))
    for name, factor in MAGNITUDES.items() if floats else ():
        changed = {spec.name: scaled(spec, drawn.inputs[spec.name], factor) for spec in inputs}
        answer = settled(replace(base, name=name, inputs=changed), ask, tolerance, usual)
        if isinstance(answer, str):
            found.left_out.append(f"{name}: {answer}")
        else:
            found.answers.append(answer)
    for spec in masks:
        _masked(found, spec, usual(), lambda case: _answered(case, usual, ask, tolerance))
    return found


def is_unusual(name: str) -> bool:
    """Whether a case of this name holds unusual values, and is no base to take rows apart or to pad more."""
    return name in MAGNITUDES or name.startswith(("mask-", "power-"))


def is_mask(spec: TensorSpec) -> bool:
    """Whether an input is a mask, as far as its type tells: booleans, or integers that are 0 or 1, along some axis."""
    zero_one = "int" in spec.dtype and (spec.low or 0) == 0 and spec.high == 2
    return bool(spec.dims) and (spec.dtype == "bool" or zero_one)


def small_sizes(inputs: Sequence[TensorSpec], weight_bytes: int = 0) -> dict[str, int]:
    """Small sizes, or the smallest over 1 where the fixed axes (pictures) or the weights are large."""
    dims = named_dims(inputs)

    def clamped(choice: Sequence[int]) -> dict[str, int]:
        dynamic = [n for n, d in dims.items() if d.dynamic]
        wanted = dict(zip(dynamic, [*choice, *[choice[-1]] * len(dynamic)], strict=False))
        return {n: _within(d, wanted.get(n, d.opt)) for n, d in dims.items()}

    sizes = clamped(_SIZES)
    size = sum(int(np.prod(s.shape(sizes), dtype=np.int64)) * np.dtype(s.dtype).itemsize for s in inputs)
    return sizes if size <= _MOST_BYTES and weight_bytes < _HEAVY_BYTES else clamped((2, 3))


def _within(dim: Dim, size: int) -> int:
    return max(dim.min, min(dim.max, size))


def scaled(spec: TensorSpec, value: NDArray[Any], factor: float) -> NDArray[Any]:
    """A float input times `factor`, within the bounds that are declared of its values."""
    if not spec.dtype.startswith("float"):
        return value
    low, high = (spec.values.low, spec.values.high) if spec.values else (None, None)
    wide = value.astype(np.float64) * factor
    clipped: NDArray[Any] = (wide if low is None and high is None else np.clip(wide, low, high)).astype(value.dtype)
    return clipped


def _masked(
    found: ValueCases, spec: TensorSpec, usual: Case[Arrays], answered: Callable[[Case[Arrays]], Case[Arrays] | None]
) -> None:
    """An empty row and one padded on the left, under either meaning of the mask: in one case where it has enough rows.

    Patterns to which PyTorch has no answer that proves something are left out: none that is finite, as to an empty row of a
    softmax over -inf, or none that is settled, as to scores that all have 1e6 taken off.
    """
    shape = usual.inputs[spec.name].shape
    rows = shape[0] if len(shape) > 1 else 1
    name = re.sub(r"[^A-Za-z0-9._-]", "_", f"mask-{spec.name}")[:120]
    asked: dict[tuple[str, ...], Case[Arrays] | None] = {}

    def together(patterns: Sequence[str], number: int = 0) -> Case[Arrays] | None:
        key, label = tuple(patterns), name if number == 0 else f"{name}-{number + 1}"
        if key not in asked:
            asked[key] = answered(_with_patterns(usual, spec.name, patterns, rows, label))
        answer = asked[key]
        return None if answer is None else replace(answer, name=label)

    def in_cases(patterns: Sequence[str]) -> list[Case[Arrays] | None]:
        return [together(patterns[at : at + rows], at // rows) for at in range(0, len(patterns), rows)]

    whole = in_cases([*_PATTERNS])
    if None not in whole:
        found.answers.extend(answer for answer in whole if answer is not None)
        return
    good = [pattern for pattern in _PATTERNS if together([pattern]) is not None]
    found.answers.extend(answer for answer in in_cases(good) if answer is not None)
    if bad := [pattern for pattern in _PATTERNS if pattern not in good]:
        found.left_out.append(f"{name}: PyTorch has no finite and settled answer to a row that is {' or '.join(bad)}")


#: Of the last axis, from the index of an element and the number of elements: what a row of a mask is filled with.
_PATTERNS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "all zero": lambda at: at < 0,
    "zero on the left": lambda at: at >= (len(at) + 1) // 2,
    "all one": lambda at: at >= 0,
    "one on the left": lambda at: at < (len(at) + 1) // 2,
}


def _with_patterns(usual: Case[Arrays], mask: str, patterns: Sequence[str], rows: int, name: str) -> Case[Arrays]:
    """The usual case with the first rows (along the first axis, where there are several axes) so filled."""
    value = usual.inputs[mask].copy()
    by_row = value if value.ndim > 1 else value[None]
    for row, pattern in zip(range(rows), patterns, strict=False):
        by_row[row] = _PATTERNS[pattern](np.arange(value.shape[-1])).astype(value.dtype)
    return replace(usual, name=name, inputs={**usual.inputs, mask: value})


def _answered(
    case: Case[Arrays], usual: Callable[[], Case[Arrays]], ask: Ask, tolerance: Tolerance
) -> Case[Arrays] | None:
    from .settled_answers import settled

    answer = settled(case, ask, tolerance, usual)
    return None if isinstance(answer, str) else answer
