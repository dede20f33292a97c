"""Numbers that a model computes from its sizes with Python: int(T * 0.7), T / 3, and where they become sizes again.

In a captured program such a number is a chain of scalar nodes. Each is evaluated here as Python evaluated it, in double
precision, for every value of the one size that it starts from.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from .building_blocks import Call, CanNotWrite, Size, bounds, function_of, value

_TO_INTEGER = {math.trunc, math.floor, math.ceil, round, torch.sym_int}


@dataclass(frozen=True)
class Chain:
    """A number as a function of one size: `at(size)`. `root` is the node of the size; None where nothing varies."""

    root: torch.fx.Node | None
    at: Callable[[int], Any]


def chain(number: Any) -> Chain:
    """The number as a function of the last integer node that it is computed from.

    Raises CanNotWrite where it depends on two sizes. An integer node is a root itself, whatever it is computed from.
    """
    return together([number])


def together(numbers: list[Any]) -> Chain:
    """As `chain`, for several numbers: `at` gives the list of them."""
    order: list[torch.fx.Node] = []
    roots: dict[torch.fx.Node, None] = {}

    def visit(number: Any) -> None:
        if not isinstance(number, torch.fx.Node) or number in order or number in roots:
            return
        if isinstance(number.meta.get("val"), (int, torch.SymInt)):
            roots[number] = None
            return
        if number.op != "call_function" or isinstance(number.target, torch._ops.OpOverload):
            raise CanNotWrite(f"{number.name} is read from a tensor")
        for argument in (*number.args, *number.kwargs.values()):
            visit(argument)
        order.append(number)

    for number in numbers:
        visit(number)
    if len(roots) > 1:
        raise CanNotWrite(f"it is computed in floating point from {len(roots)} sizes at once")

    def at(size: int) -> list[Any]:
        known: dict[Any, Any] = dict.fromkeys(roots, size)

        def of(number: Any) -> Any:
            return known[number] if isinstance(number, torch.fx.Node) else number

        for node in order:
            known[node] = node.target(*map(of, node.args), **{k: of(v) for k, v in node.kwargs.items()})  # type: ignore[operator]
        return [of(number) for number in numbers]

    return Chain(next(iter(roots), None), at)


def write(node: torch.fx.Node) -> Call | None:
    """For a node that makes a size of a number that was computed in floating point: the same in integers."""
    if node.op == "call_function" and node.target is operator.floordiv:
        return _quotient(*node.args)
    if node.op != "call_function" or node.target not in _TO_INTEGER or not _is(node, int, torch.SymInt):
        return None
    [number, *rest] = node.args
    if any(a is not None for a in rest) or not _is(number, float, torch.SymFloat):
        return None
    found, target = chain(number), node.target

    def size_in_integers(size: Size) -> Size:
        return function_of(size, lambda n: int(target(found.at(n)[0])))

    return Call(size_in_integers, (found.root,), {}) if found.root is not None else None


def _quotient(number: Any, by: Any) -> Call | None:
    """`-T // 4` of a number that may be negative: Python rounds down, and the exporter's Div towards zero."""
    if not (_is(number, torch.SymInt) and (isinstance(by, int) or _is(by, torch.SymInt))):
        return None
    try:
        (low, high), (smallest, _) = bounds(value(number)), bounds(value(by))
    except CanNotWrite:
        return None
    if low >= 0 or smallest <= 0:
        return None

    def rounded_down(number: Size, by: Size) -> Size:
        below = number if high <= 0 else torch.sym_min(number, 0)
        whole = -((by - 1 - below) // by)
        return whole if high <= 0 else whole + (number - below) // by

    return Call(rounded_down, (number, by), {})


def _is(node: Any, *types: type) -> bool:
    return isinstance(node, torch.fx.Node) and isinstance(node.meta.get("val"), types)
