"""Lines over a number, both axes by their magnitude, and marks along a range, as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .html import Html, tag

_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 150, 12, 36
#: Along x, beside one another.
_MOST_NUMBERS = 10
#: Colours that the style has for lines.
_COLOURS = 6


@dataclass(frozen=True)
class Curve:
    """`points` (x, y), both above 0."""

    name: str
    points: Sequence[tuple[float, float]]


def curves(drawn: Sequence[Curve], x: str, y: str) -> Html:
    """Curves over logarithmic axes, named at their right ends. Nothing where there is no point."""
    points = [point for curve in drawn for point in curve.points]
    if not points:
        return Html()
    across = _Axis([p[0] for p in points], _LEFT, _WIDTH - _RIGHT)
    up = _Axis([p[1] for p in points], _HEIGHT - _BOTTOM, _TOP)
    parts = [*_grid(across, up, sorted({p[0] for p in points}))]
    ends: list[float] = []
    for number, curve in enumerate(sorted(drawn, key=lambda one: -max(one.points)[1])):
        parts += _line(curve, number % _COLOURS, across, up, ends)
    parts.append(tag("text", x, x=(_LEFT + _WIDTH - _RIGHT) / 2, y=_HEIGHT - 4, text_anchor="middle"))
    parts.append(tag("text", y, x=4, y=_TOP + 2, class_="unit"))
    told = f"{y} over {x}: {', '.join(curve.name for curve in drawn)}"
    return tag("svg", *parts, class_="curves", viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=told)


def marks(low: int, high: int, at: Iterable[int], told: str) -> Html:
    """A line from `low` to `high` with a mark at each of `at`."""
    span = max(high - low, 1)
    places = sorted({round((value - low) / span * 1000) for value in at})
    ticks = [tag("rect", class_="mark", x=f"{place * 0.594 + 2:.1f}", y=2, width=2, height=14) for place in places]
    line = tag("rect", class_="track", x=2, y=8, width=596, height=2)
    return tag(
        "svg",
        line,
        *ticks,
        class_="marks",
        viewBox="0 0 600 18",
        preserveAspectRatio="none",
        role="img",
        aria_label=told,
    )


class _Axis:
    """Where a number lies between two ends of the picture."""

    def __init__(self, values: Sequence[float], start: float, stop: float) -> None:
        self.low, self.high = min(values), max(values)
        if self.high / self.low < 1.5:  # a flat line lies in the middle
            self.low, self.high = self.low / 1.5, self.high * 1.5
        self.start, self.stop = start, stop

    def place(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self) -> list[float]:
        first = math.floor(math.log10(self.low))
        every = [step * 10.0**power for power in range(first, first + 12) for step in (1, 2, 5)]
        return [value for value in every if self.low * 0.999 <= value <= self.high * 1.001]


def _grid(across: _Axis, up: _Axis, measured: Sequence[float]) -> Iterable[Html]:
    """Round numbers, and along x those that were measured, where they are few."""
    for value in up.ticks():
        at = f"{up.place(value):.1f}"
        yield tag("line", class_="grid", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=at, y2=at)
        yield tag("text", f"{value:g}", x=_LEFT - 6, y=up.place(value) + 4, text_anchor="end")
    for value in measured if len(measured) <= _MOST_NUMBERS else across.ticks():
        yield tag("text", f"{value:g}", x=f"{across.place(value):.1f}", y=_HEIGHT - 20, text_anchor="middle")


def _line(curve: Curve, colour: int, across: _Axis, up: _Axis, ends: list[float]) -> Iterable[Html]:
    points = sorted(curve.points)
    if not points:
        return
    told = " ".join(f"{across.place(px):.1f},{up.place(py):.1f}" for px, py in points)
    yield tag("polyline", points=told, class_=f"line c{colour}", limit=None)
    for px, py in points:
        title = tag("title", f"{curve.name}: {py:.3g} at {px:g}")
        yield tag("circle", title, cx=f"{across.place(px):.1f}", cy=f"{up.place(py):.1f}", r=3, class_=f"dot c{colour}")
    at = up.place(points[-1][1]) + 4
    while any(abs(at - other) < 14 for other in ends):  # names do not lie over one another
        at += 2
    ends.append(at)
    yield tag("text", curve.name, x=_WIDTH - _RIGHT + 8, y=f"{at:.1f}", class_=f"name c{colour}", limit=26)
