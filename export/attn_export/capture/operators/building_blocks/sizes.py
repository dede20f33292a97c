"""Sizes computed in floating point, as integer arithmetic that gives the same numbers.

PyTorch computes `int(T * 0.7)` in double precision. The exporter's graphs do it in float32, which gives another number
at some sizes (63 instead of 62 at T = 90), and TensorRT knows no double at all. So the function is evaluated here, by
Python, at every size of the declared range, and written as pieces of straight lines over integers,
`(p * T + r) // q`, that agree at each of them. Rounding changes the line a few times over a range: 0.7 needs one line
up to 99 and nine up to 16384.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

Size = int | torch.SymInt

#: Pieces of one function; each costs about six nodes on scalars.
MOST_PIECES = 16


class CanNotWrite(Exception):
    """Something has no form that is right at every size. `why` is the text; tracing adds its own to the arguments."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(frozen=True)
class Piece:
    """`(p * t + r) // q` for first <= t <= last. Neighbours share a point, so that they can be joined without a jump."""

    first: int
    last: int
    p: int
    q: int
    r: int

    def at(self, t: Size) -> Size:
        return t * self.p + self.r if self.q == 1 else (t * self.p + self.r) // self.q


def bounds(size: Size) -> tuple[int, int]:
    """The least and the greatest value of a size. Raises CanNotWrite where it has no bound."""
    if isinstance(size, int):
        return size, size
    expression = size.node.expr
    if expression.is_Integer:
        return int(expression), int(expression)
    found = size.node.shape_env.bound_sympy(expression)
    try:
        return int(found.lower), int(found.upper)
    except (OverflowError, ValueError, TypeError):
        raise CanNotWrite(f"the size {expression} has no bound") from None


def pieces(values: Sequence[int], first: int) -> list[Piece]:
    """The function with these values from `first` on, as the fewest lines in a row that share their end points.

    Raises CanNotWrite where that takes more than MOST_PIECES, or where a value is negative: Python rounds a negative
    quotient down, ONNX up.
    """
    if min(values) < 0:
        raise CanNotWrite("it is negative")
    found: list[Piece] = []
    at = 0
    while not found or at < len(values) - 1:
        piece = _longest(values, at, first)
        found.append(piece)
        at = piece.last - first
        if len(found) > MOST_PIECES:
            raise CanNotWrite(f"it is no sequence of at most {MOST_PIECES} straight lines")
    wrong = [first + at for at, wanted in enumerate(values) if joined(found, first + at) != wanted]
    assert not wrong, (found, wrong[:3])
    return found


def joined(lines: Sequence[Piece], size: Size) -> Size:
    """The value at `size`: the first line's, and what each further line adds on its own stretch.

    With minima alone: of a maximum around a minimum, more than once, onnxscript (0.7) makes graphs that don't load.
    """
    # While a program is traced, torch.sym_min takes its time for plain numbers too.
    least = min if isinstance(size, int) else torch.sym_min
    ends = [least(size, line.last) for line in lines[:-1]] + [size]
    total = lines[0].at(ends[0])
    for line, before, end in zip(lines[1:], ends, ends[1:], strict=False):
        total = total + (line.at(end) - line.at(before))
    return total


def _longest(values: Sequence[int], start: int, offset: int) -> Piece:
    """The longest digital straight segment from `start` on (Debled-Rennesson and Reveilles, 1995).

    With the slope's whole part taken off, steps are 0 or 1, and the line is mu <= a * x - b * y < mu + b.
    """
    if start + 1 >= len(values):
        return Piece(offset + start, offset + start, 0, 1, values[start])
    # The whole part can only be told once two steps differ: then it is the smaller one.
    steps = [values[start + 1] - values[start]]
    end = start + 1
    while end + 1 < len(values) and values[end + 1] - values[end] == steps[0]:
        end += 1
    if end + 1 < len(values):
        steps.append(values[end + 1] - values[end])
    whole = min(steps)
    if max(steps) - whole > 1:
        whole = steps[0]
    a, b, mu = 0, 1, 0
    upper_first = upper_last = lower_first = lower_last = (0, 0)
    last = start
    y = 0
    for at in range(start + 1, len(values)):
        step = values[at] - values[at - 1] - whole
        if step not in (0, 1):
            break
        x, y = at - start, y + step
        rest = a * x - b * y
        if mu <= rest < mu + b:
            if rest == mu:
                upper_last = (x, y)
            if rest == mu + b - 1:
                lower_last = (x, y)
        elif rest == mu - 1:
            lower_first, upper_last = lower_last, (x, y)
            a, b = y - upper_first[1], x - upper_first[0]
            mu = a * x - b * y
        elif rest == mu + b:
            upper_first, lower_last = upper_last, (x, y)
            a, b = y - lower_first[1], x - lower_first[0]
            mu = a * x - b * y - b + 1
        else:
            break
        last = at
    # y = (a * x - mu) // b with x counted from `start`, back to the sizes themselves.
    p, base = a + whole * b, offset + start
    return Piece(base, offset + last, p, b, values[start] * b - mu - p * base)
