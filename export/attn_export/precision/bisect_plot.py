"""The error along a graph as a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from attn_runtime.escape import plot_text
from attn_runtime.tasks.plots import write_plot

from .bisect_report import Bisected
from .layerwise import STANDS_FOR_INFINITY, Step

#: Names that can be read side by side below the picture, and letters of one.
MOST_NAMES, _LETTERS = 28, 32


def plot_bisection(done: Bisected, file: Path) -> None:
    """Write the error along the graph as a picture, in the format of the suffix (.png, .svg, .pdf).

    Raises what attn_runtime.tasks.plots.check_plot does, OutputError when `file` can't be written.
    """
    write_plot(file, lambda: draw_bisection(done), dpi=110)


def draw_bisection(done: Bisected) -> Any:
    """The same as a matplotlib Figure: the error above, the magnitudes below, modules along the axis."""
    import matplotlib.figure

    bisection, figure = done.bisection, matplotlib.figure.Figure(figsize=(10, 6.4), layout="constrained")
    steps = bisection.steps
    above, below = figure.subplots(2, 1, sharex=True)
    places, style = range(len(steps)), {"linewidth": 1, "marker": ".", "markersize": 4}
    # Elements that are lost have no error to draw; they are drawn over everything.
    top = max([10.0, *(4 * s.relative for s in steps if not s.lost)])
    above.plot(places, errors(steps, top), color="tab:blue", label="error / max|fp32|", **style)
    lost = [i for i in places if steps[i].lost]
    if lost:
        above.plot(lost, [top] * len(lost), "x", color="tab:red", label="inf or NaN where fp32 is finite")
    above.set_ylabel("error / max|fp32|")
    below.plot(places, magnitudes(steps), color="tab:gray", label="max|fp32|, masks left out", **style)
    if bisection.limit < math.inf:
        limit = bisection.limit
        below.axhline(limit, color="tab:red", linestyle="--", linewidth=1, label=f"limit {limit:.5g}")
    below.set_ylabel("max|fp32|")
    named = module_names(steps)
    below.set_xticks([place for place, _ in named], [plot_text(_end_of(name)) for _, name in named])
    below.tick_params(axis="x", labelsize=7, rotation=90)
    below.set_xlabel("modules in the order of the graph")
    culprit = done.culprit
    if culprit is not None:
        place = next(i for i, s in enumerate(steps) if s is culprit)
        label = "grows most" if bisection.how == "creep" else "parts first"
        for axes in (above, below):
            axes.axvline(place, color="tab:orange", linewidth=1.5, alpha=0.7, label=plot_text(label))
        title = f"{culprit.label}, {culprit.operator}: {culprit.reason(bisection.limit)}"
    else:
        title = "no node is at fault: the answers hold" if done.holds else "the two part nowhere"
    above.set_title(plot_text(title), fontsize=9, loc="left")
    for axes in (above, below):
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.set_axisbelow(True)
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    low, high = above.get_ylim()
    above.set_ylim(min(low, high / 100), high)  # a few percent more or less are no mountain
    names = f"{done.reference} in fp32 against {done.against}, worst of {len(done.cases)} cases"
    figure.suptitle(plot_text(names))
    return figure


def errors(steps: Sequence[Step], top: float) -> list[float]:
    """What is drawn of each tensor's error: `top` where elements were lost, and NaN (a gap) where it is all masks."""
    least = min((s.relative for s in steps if s.relative), default=1.0) / 2
    drawn = [top if s.lost else max(s.relative, least) for s in steps]
    return [math.nan if not s.lost and s.scale == 0 else error for s, error in zip(steps, drawn, strict=True)]


def magnitudes(steps: Sequence[Step]) -> list[float]:
    """What is drawn of each tensor's size: without what stands for minus infinity in a mask, NaN where it is all masks.

    Where elements were lost, their size is what is to be seen.
    """
    sizes = [s.largest if s.lost and s.largest < STANDS_FOR_INFINITY else s.scale for s in steps]
    return [size or math.nan for size in sizes]


def module_names(steps: Sequence[Step], most: int = MOST_NAMES) -> list[tuple[int, str]]:
    """(place of its first tensor, module) for the axis: about `most`, of the innermost modules that are so few, as far apart as
    letters need."""
    deepest = max((s.module.count(".") + 1 for s in steps), default=1)
    found: list[tuple[int, str]] = []
    for depth in range(deepest, 0, -1):
        shortened = [".".join(s.module.split(".")[:depth]) for s in steps]
        runs = groupby(range(len(steps)), key=shortened.__getitem__)
        found = [(next(places), name) for name, places in runs if name]
        if len(found) <= most:
            break
    kept: list[tuple[int, str]] = []
    for place, name in found:
        if not kept or (name != kept[-1][1] and place - kept[-1][0] >= len(steps) / most / 2):
            kept.append((place, name))
    return kept


def _end_of(name: str) -> str:
    """A long path without its beginning, which its neighbours have too."""
    return name if len(name) <= _LETTERS else f"...{name[-_LETTERS:]}"
