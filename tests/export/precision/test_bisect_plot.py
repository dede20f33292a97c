"""What `bisect --plot` draws: magnitudes without masks, names of modules, and a culprit where there is one."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from attn_export.precision.bisect_plot import draw_bisection, errors, magnitudes, module_names, plot_bisection
from attn_export.precision.bisect_report import Bisected
from attn_export.precision.layerwise import Bisection, Step


def step(module: str = "net", relative: float = 1e-3, growth: float = 2.0, lost: int = 0, **sizes: float) -> Step:
    size = {"largest": 2.0, "scale": 2.0, **sizes}
    return Step("t", "n", "Mul", module, "s", size["largest"], size["scale"], 0.1, relative, growth, lost, "c")


def done(*steps: Step, first: int | None = 0, how: str = "drift", holds: bool = False) -> Bisected:
    found = Bisection(steps, None if first is None else steps[first], how, 65504.0)
    return Bisected("a.attn", "fp16", "fp16", ("min", "max"), found, holds)


def marked(figure: Any) -> list[tuple[float, str]]:
    """(place, label) of the lines that stand upright, in both parts of the picture."""
    lines = [line for axes in figure.axes for line in axes.lines]
    upright = [line for line in lines if len(line.get_xdata()) == 2 and len(set(line.get_xdata())) == 1]
    return [(float(line.get_xdata()[0]), str(line.get_label())) for line in upright]


@pytest.mark.parametrize(
    ("how", "holds", "label", "title"),
    [
        ("drift", False, "parts first", "net, Mul: drift"),
        ("overflow", True, "parts first", "net, Mul: "),
        ("creep", False, "grows most", "net, Mul: drift"),
        ("drift", True, "", "no node is at fault: the answers hold"),
        ("creep", True, "", "no node is at fault: the answers hold"),
    ],
)
def test_a_culprit_is_marked_where_there_is_one(how: str, holds: bool, label: str, title: str) -> None:
    steps = [step(), step(lost=3 if how == "overflow" else 0), step()]
    figure = draw_bisection(done(*steps, first=1, how=how, holds=holds))
    assert marked(figure) == ([(1.0, label)] * 2 if label else [])
    assert figure.axes[0].get_title(loc="left").startswith(title)


def test_graphs_that_part_nowhere() -> None:
    figure = draw_bisection(done(step(relative=0.0), step(relative=0.0), first=None, how="creep"))
    assert not marked(figure) and figure.axes[0].get_title(loc="left") == "the two part nowhere"


def test_masks_are_left_out_of_the_scale() -> None:
    steps = [step(), step(largest=1e9, scale=0.0, relative=0.0), step(largest=1e9, scale=4.0)]
    assert [magnitudes(steps)[i] for i in (0, 2)] == [2.0, 4.0]
    assert math.isnan(magnitudes(steps)[1]) and math.isnan(errors(steps, 10.0)[1])
    figure = draw_bisection(done(*steps, first=None))
    assert all(axes.get_ylim()[1] < 1e6 for axes in figure.axes)


def test_what_was_lost_is_drawn_at_its_size() -> None:
    steps = [step(), step(lost=1, largest=9e4, scale=3.0), step(lost=1, largest=3.4e38, scale=3.0)]
    assert magnitudes(steps) == [2.0, 9e4, 3.0]
    assert errors(steps, 10.0) == [1e-3, 10.0, 10.0]


def test_an_error_of_nothing_has_a_place() -> None:
    assert errors([step(relative=0.0), step(relative=1e-4)], 10.0) == [5e-5, 1e-4]


def test_names_of_modules() -> None:
    few = [step(module) for module in ("embed", "layers.0", "layers.0", "", "layers.1.up", "head")]
    assert module_names(few) == [(0, "embed"), (1, "layers.0"), (4, "layers.1.up"), (5, "head")]
    assert module_names([step("")]) == [] and module_names([]) == []


def test_names_of_a_long_graph_are_those_of_outer_modules() -> None:
    inner = [step(f"layers.{layer}.{part}") for layer in range(12) for part in "qkvoud" for _ in range(3)]
    assert module_names(inner) == [(18 * layer, f"layers.{layer}") for layer in range(12)]
    flat = [step(f"layer{n}") for n in range(500)]
    names = module_names(flat)
    assert 28 <= len(names) <= 56 and names[0] == (0, "layer0")
    assert min(b - a for (a, _), (b, _) in pairwise(names)) >= 9


@pytest.mark.parametrize("name", ["$\\frac{ $", "a$b", "$x$y$"])
def test_names_in_the_picture_are_no_formulas(tmp_path: Path, name: str) -> None:
    one = Step(name, name, name, name, name, 1.0, 1.0, 0.1, 0.1, 2.0, 0, name)
    named = Bisected(f"{name}.attn", name, name, (name,), Bisection((one, one), one, "drift", 65504.0))
    plot_bisection(named, tmp_path / "error.svg")
    assert (tmp_path / "error.svg").stat().st_size > 1000
