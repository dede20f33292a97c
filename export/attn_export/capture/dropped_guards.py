"""Sizes at which a module takes another branch than the one that was traced.

A condition on one dim is a limit of its range, and torch.export refuses it. One on several dims (`B == T`, `H * W == 391`)
it notes as a guard, which no exported graph checks: the graph has one branch for all sizes. So PyTorch and the graph are
held against each other where a guard does not hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import sympy  # type: ignore[import-untyped]
from attn_runtime.spec import TensorSpec, named_dims

#: Combinations of sizes that are all tried, or else drawn, per guard; how many that break it are kept; and guards looked at.
_ALL, _DRAWN, _KEPT, _GUARDS = 4096, 600, 2, 12


@dataclass(frozen=True)
class Branch:
    """A guard that was dropped, in the names of the dims, and sizes of those dims that break it."""

    guard: str
    sizes: tuple[Mapping[str, int], ...]


def dropped_guards(traced: Sequence[Any], inputs: Sequence[TensorSpec]) -> list[Branch]:
    """The guards of a trace over two dims or more that sizes inside the declared ranges break, each with some such sizes.

    `traced` is what `traced_inputs` gave of the program that torch.export returned: one that is traced again has no guards.
    """
    values = [v for v in traced if hasattr(v, "fake_mode")]
    names = _names(traced, inputs)
    environment = next((v.fake_mode.shape_env for v in values if v.fake_mode.shape_env is not None), None)
    found: dict[str, Branch] = {}
    for guard in environment.guards if environment is not None else ():
        if len(found) == _GUARDS:
            break
        symbols = sorted(guard.expr.free_symbols, key=str)
        if len(symbols) < 2 or any(s not in names for s in symbols):
            continue
        text = str(guard.expr.xreplace({s: type(s)(names[s]) for s in symbols}))
        dims = [names[s] for s in symbols]
        broken = [dict(zip(dims, sizes, strict=True)) for sizes in _breaking(guard.expr, symbols, dims, inputs)]
        if broken and text not in found:
            found[text] = Branch(text, tuple(broken))
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


def _breaking(
    expression: Any, symbols: Sequence[Any], dims: Sequence[str], inputs: Sequence[TensorSpec]
) -> list[tuple[int, ...]]:
    """Sizes of `symbols` that break a guard, small ones first."""
    ranges = [range(named_dims(inputs)[name].min, named_dims(inputs)[name].max + 1) for name in dims]
    broken: list[tuple[int, ...]] = []
    for sizes in _combinations(ranges):
        holds = expression.xreplace({s: sympy.Integer(n) for s, n in zip(symbols, sizes, strict=True)})
        if holds == False:  # noqa: E712  sympy's own False
            broken.append(sizes)
            if len(broken) == _KEPT:
                break
    return broken


def _combinations(ranges: Sequence[range]) -> Iterator[tuple[int, ...]]:
    """All of them where they are few; else two that are alike, and drawn ones."""
    count = 1
    for one in ranges:
        count *= len(one)
    if count <= _ALL:
        yield from product(*ranges)
        return
    alike = range(max(r.start for r in ranges), min(r.stop for r in ranges))
    for size in alike[:_KEPT]:
        yield (size,) * len(ranges)
    rng = np.random.default_rng(0)
    drawn = np.stack([rng.integers(r.start, r.stop, _DRAWN) for r in ranges], 1)
    for sizes in drawn:
        yield tuple(int(n) for n in sizes)
