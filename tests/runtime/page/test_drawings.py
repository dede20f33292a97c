"""Curves and marks lie where their numbers say, inside of the picture."""

from __future__ import annotations

import re

import pytest
from attn_runtime.page import Curve, curves, marks
from support.pages.page_tags import PageTags


def places(drawn: str) -> list[list[tuple[float, float]]]:
    """The corners of every line."""
    return [
        [tuple(map(float, point.split(","))) for point in points.split()]  # type: ignore[misc]
        for points in re.findall('points="([^"]*)"', drawn)
    ]


def test_a_curve_rises_and_its_axes_are_logarithmic() -> None:
    drawn = curves([Curve("slow", [(1, 10), (4, 40), (16, 160)]), Curve("fast", [(1, 1), (16, 16)])], "batch", "ms")
    slow, fast = places(drawn)
    (ax, ay), (bx, by), (cx, cy) = slow
    assert ax < bx < cx and ay > by > cy, "up is less in SVG"
    assert bx - ax == pytest.approx(cx - bx, abs=0.2) and ay - by == pytest.approx(by - cy, abs=0.2)
    assert fast[0][0] == ax and fast[0][1] > ay
    assert all(0 < x < 640 and 0 < y < 260 for line in (slow, fast) for x, y in line)
    assert "slow" in PageTags(drawn).text and "batch" in PageTags(drawn).text


@pytest.mark.parametrize("points", [[(1.0, 5.0)], [(1.0, 5.0), (2.0, 5.0)], [(3.0, 1e-9), (3.0, 1e9)]])
def test_flat_and_steep_curves_are_drawn(points: list[tuple[float, float]]) -> None:
    (line,) = places(curves([Curve("one", points)], "x", "y"))
    assert all(0 < x < 640 and 0 < y < 260 for x, y in line)


def test_nothing_is_drawn_of_nothing() -> None:
    assert curves([], "x", "y") == curves([Curve("empty", [])], "x", "y") == ""


def test_marks_lie_from_end_to_end() -> None:
    found = [float(x) for x in re.findall('class="mark" x="([^"]*)"', marks(1, 11, [11, 1, 6, 6], "told"))]
    assert found == [2.0, 299.0, 596.0]
    assert 'class="mark" x="2.0"' in marks(4, 4, [4], "one size")
