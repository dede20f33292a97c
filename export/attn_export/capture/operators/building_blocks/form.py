"""What a form is, and small things that forms share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .sizes import CanNotWrite, Size, bounds, joined, pieces

#: Lengths of a constant that is sliced or looked up: 0.5 MB of indices.
MOST_CONSTANTS = 1 << 16


@dataclass(frozen=True)
class Call:
    """What takes a call's place: `function(*args, **kwargs)`; nodes among the arguments stand for their values."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Form:
    """`write(node)` is the Call that takes the node's place, or None where the exporter's translation is right.

    operators: names below torch.ops.aten, of all overloads, also of those that work in place.
    """

    operators: frozenset[str]
    write: Callable[[torch.fx.Node], Call | None]


def arguments(node: torch.fx.Node) -> dict[str, Any]:
    """The call's arguments by name, defaults included, nodes as they are."""
    schema = node.target._schema  # type: ignore[union-attr]
    given = dict(zip((a.name for a in schema.arguments), node.args, strict=False)) | node.kwargs
    return {a.name: given.get(a.name, a.default_value if a.has_default_value() else None) for a in schema.arguments}


def value(argument: Any) -> Any:
    """What an argument is while a program is traced: a fake tensor, a size, or the plain thing itself."""
    if isinstance(argument, torch.fx.Node):
        return argument.meta["val"]
    if isinstance(argument, (list, tuple)):
        return [value(a) for a in argument]
    return argument


def constant(numbers: Sequence[int] | Sequence[float], most: int = MOST_CONSTANTS) -> torch.Tensor:
    """A constant of the graph, int64 or float32 [len(numbers)].

    A tensor that is made while a program is decomposed is refused (torch 2.13: "not in the constants dictionary").
    """
    if len(numbers) > most:
        raise CanNotWrite(f"it needs a table of {len(numbers)} numbers, more than {most}")
    if isinstance(numbers[0], int):
        attribute, dtype = "value_ints", torch.int64
    else:
        attribute, dtype = "value_floats", torch.float32
    # Immutable lists, as a traced call has them, are refused.
    return torch.onnx.ops.symbolic("Constant", [], {attribute: [*numbers]}, dtype=dtype, shape=[len(numbers)])


def start_of(table: torch.Tensor, length: Size) -> torch.Tensor:
    """The first `length` of a constant. Tracing would ask whether it has so many."""
    ends = as_tensor(length)
    return torch.onnx.ops.symbolic("Slice", [table, constant([0]), ends], dtype=table.dtype, shape=[length])


def as_tensor(size: Size) -> torch.Tensor:
    """A size as int64 [1]."""
    return torch.full((1,), size, dtype=torch.int64)  # type: ignore[arg-type]


def count_to(size: Size) -> torch.Tensor:
    """0, 1, ... size - 1 as int64 [size]."""
    return torch.arange(size, dtype=torch.int64)  # type: ignore[arg-type]


def moved_on(x: torch.Tensor, dim: int, by: int, fill: float) -> torch.Tensor:
    """x with each place of the axis `dim` holding what stood `by` places before it, the first `by` of them `fill`."""
    ahead = list(x.shape)
    ahead[dim] = by
    # Cut from the front, so that it holds for rows shorter than `by` as well.
    return torch.cat([x.new_full(ahead, fill), x], dim).narrow(dim, 0, x.shape[dim])


def quotient(numbers: torch.Tensor, by: torch.Tensor | int) -> torch.Tensor:
    """Whole quotients of numbers >= 0, int64, by as many numbers > 0, or by one; one node.

    `//` becomes seven nodes that look after signs, and torch.div a division in float32 (onnxscript 0.7).
    """
    divisor = constant([by]) if isinstance(by, int) else by
    return torch.onnx.ops.symbolic("Div", [numbers, divisor], dtype=torch.int64, shape=numbers.shape)


def function_of(size: Size, function: Callable[[int], int]) -> Size:
    """`function(size)`, exact at each value that `size` can have: straight lines where they will do, else a table.

    What comes out of a table is a size that tracing knows nothing of but its range. Where the program then asks
    whether it equals another one, tracing fails, and the capture is refused.
    """
    if isinstance(size, int):
        return function(size)
    first, last = bounds(size)
    if last - first >= MOST_CONSTANTS:
        raise CanNotWrite(f"the size it is computed from ranges over more than {MOST_CONSTANTS} values")
    values = [function(t) for t in range(first, last + 1)]
    try:
        return joined(pieces(values, first), size)
    except CanNotWrite:
        found = constant(values).index_select(0, as_tensor(size - first)).item()
    torch._check(found >= min(values))
    torch._check(found <= max(values))
    return found  # type: ignore[return-value]
