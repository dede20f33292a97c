"""Sizes at which a module takes another branch than the one that was traced.

By torch.export's rules a condition on one dim is a limit of its range, and is refused where it does not hold for all of
it. One on several dims (`B == T`, `H * W == 391`) is noted as a guard, and where a module is traced by its example's
branches (`tracing`) every condition is. No exported graph checks a guard: it has one branch for all sizes. So PyTorch and
the graph are held against each other where a guard does not hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
import sympy  # type: ignore[import-untyped]
import torch
from attn_runtime.spec import Dim, TensorSpec, named_dims
from torch.utils._sympy.printers import PythonPrinter

from .dynamic_shape_errors import Record

#: Combinations of sizes that are all tried, or else drawn, per guard; how many that break it are kept; and guards kept.
_ALL, _DRAWN, _KEPT, _GUARDS = 4096, 600, 2, 24

Condition = Callable[[Mapping[str, int]], bool]


@dataclass(frozen=True)
class Branch:
    """A guard that was dropped, in the names of the dims, and sizes of those dims that break it.

    place: ` at net.py:41: "code"`, empty where it is not known; dims: those it is about; holds: whether it does at given
    sizes.
    """

    guard: str
    sizes: tuple[Mapping[str, int], ...]
    place: str = ""
    dims: tuple[str, ...] = ()
    holds: Condition = field(default=lambda _: True, compare=False, repr=False)


def dropped_guards(
    traced: Sequence[Any], inputs: Sequence[TensorSpec], records: Sequence[Record] = (), fewest: int = 2
) -> list[Branch]:
    """The guards of a trace over `fewest` dims or more that sizes inside the declared ranges break, each with some such
    sizes.

    `traced` is what `traced_inputs` gave of the program that torch.export returned: one that is traced again has no guards.
    `records` has the lines that they come from.
    """
    values = [v for v in traced if hasattr(v, "fake_mode")]
    names = _names(traced, inputs)
    environment = next((v.fake_mode.shape_env for v in values if v.fake_mode.shape_env is not None), None)
    places = {record.condition: f" at {record.place}" for record in reversed(records) if record.place}
    found: dict[str, Branch] = {}
    for guard in environment.guards if environment is not None else ():
        if len(found) == _GUARDS:
            break
        symbols = guard.expr.free_symbols
        dims = sorted({names[s] for s in symbols if s in names})
        if len(dims) < fewest or any(s not in names for s in symbols):
            continue
        text, holds = _condition(guard.expr, names)
        broken = _breaking(holds, text, {name: named_dims(inputs)[name] for name in dims})
        if broken and text not in found:
            found[text] = Branch(text, tuple(broken), places.get(guard.expr, ""), tuple(dims), holds)
    return list(found.values())


def _names(traced: Sequence[Any], inputs: Sequence[TensorSpec]) -> dict[Any, str]:
    """Symbol -> name of the dim that it is the size of."""
    names: dict[Any, str] = {}
    for value, spec in zip(traced, inputs, strict=False):
        for size, dim in zip(getattr(value, "shape", ()), spec.dims, strict=False):
            expression = getattr(getattr(size, "node", None), "expr", None)
            if dim.dynamic and dim.name is not None and getattr(expression, "is_Symbol", False):
                names[expression] = dim.name
    return names


def _condition(expression: Any, names: Mapping[Any, str]) -> tuple[str, Condition]:
    """A guard as a person reads it, and as it is evaluated: in Python's own arithmetic, as the model has it."""
    renamed = expression.xreplace({s: type(s)(names[s], integer=True) for s in expression.free_symbols})
    try:
        text = str(PythonPrinter().doprint(renamed))
        code = compile(text, "<guard>", "eval")
    except Exception:  # an expression that has no Python form
        return str(renamed), _by_sympy(renamed)
    text = re.sub(r"\d+\.\d+(?:e[-+]?\d+)?", lambda m: repr(float(m[0])), text).replace("torch.sym_float", "float")
    scope = {"math": math, "torch": torch, "max": max, "min": min, "float": float, "__builtins__": {}}

    def holds(sizes: Mapping[str, int]) -> bool:
        try:
            return bool(eval(code, scope, dict(sizes)))
        except ArithmeticError:  # such as T % (T // 64) at a T below 64
            return True

    return text, holds


def _by_sympy(expression: Any) -> Condition:
    def holds(sizes: Mapping[str, int]) -> bool:
        return bool(
            expression.xreplace({s: sympy.Integer(sizes[str(s)]) for s in expression.free_symbols}) != sympy.false
        )

    return holds


def _breaking(holds: Condition, text: str, dims: Mapping[str, Dim]) -> list[dict[str, int]]:
    """Sizes that break a guard: of several dims the smallest, of one the first, the last and one between."""
    most = _KEPT if len(dims) > 1 else _ALL
    broken: list[dict[str, int]] = []
    for sizes in _combinations(text, dims):
        if not holds(sizes):
            broken.append(sizes)
            if len(broken) == most:
                break
    if len(dims) == 1 and len(broken) > 3:
        broken = sorted(broken, key=lambda sizes: next(iter(sizes.values())))
        return [broken[0], broken[-1], broken[len(broken) // 2]]
    return broken


def _combinations(text: str, dims: Mapping[str, Dim]) -> Iterator[dict[str, int]]:
    """All of them where they are few; else the ends, two that are alike, drawn ones, and numbers that the guard names."""
    ranges = [range(dim.min, dim.max + 1) for dim in dims.values()]
    if math.prod(map(len, ranges)) <= _ALL:
        yield from (dict(zip(dims, sizes, strict=True)) for sizes in product(*ranges))
        return
    numbers = {int(n) + by for n in re.findall(r"(?<![\w.])\d{1,9}(?![\w.])", text) for by in (-1, 0, 1)}
    alike = range(max(r.start for r in ranges), min(r.stop for r in ranges))
    rng = np.random.default_rng(0)
    if len(ranges) > 1:
        for size in alike[:_KEPT]:
            yield dict.fromkeys(dims, size)
    else:
        for size in sorted({alike[0], alike[-1]} | {n for n in numbers if n in alike}):
            yield dict.fromkeys(dims, size)
    for sizes in np.stack([rng.integers(r.start, r.stop, _DRAWN) for r in ranges], 1):
        yield {name: int(n) for name, n in zip(dims, sizes, strict=True)}
