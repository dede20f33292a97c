"""Two bundles side by side as a picture: errors over their limits, case by case, and nodes by operator."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attn_runtime.escape import plot_text
from attn_runtime.tasks.plots import write_plot

from .bundle_difference import BundleDifference, GraphDifference

#: What has room in one picture: graphs, cases of one, operators of one, letters of a name.
MOST_GRAPHS, MOST_CASES, MOST_OPERATORS, _LETTERS = 4, 24, 14, 24
#: What the errors between the two are called.
HERE = "B from A, here"
#: Where an error of nothing, and one without end, are drawn, over the limit.
_NOTHING, _ENDLESS = 1e-6, 1e3


def plot_difference(found: BundleDifference, file: Path) -> None:
    """Write the picture to `file`, in the format of its suffix (.png, .svg, .pdf).

    Raises what attn_runtime.tasks.plots.check_plot does, OutputError when `file` can't be written.
    """
    write_plot(file, lambda: draw_difference(found), dpi=110)


def draw_difference(found: BundleDifference) -> Any:
    """The same as a matplotlib Figure: a row for each graph, the first few of them."""
    import matplotlib.figure

    graphs = found.graphs[:MOST_GRAPHS]
    figure = matplotlib.figure.Figure(figsize=(11, 1 + 4.2 * max(len(graphs), 1)), layout="constrained")
    rows = figure.subplots(max(len(graphs), 1), 2, squeeze=False, width_ratios=(3, 2))
    for (left, right), graph in zip(rows, graphs, strict=False):
        _draw_errors(left, graph)
        _draw_operators(right, graph)
    more = f" (the first {len(graphs)} of {len(found.graphs)} graphs)" if len(graphs) < len(found.graphs) else ""
    figure.suptitle(plot_text(f"A: {found.a}     B: {found.b}{more}", 400), fontsize=10)
    return figure


def error_series(graph: GraphDifference) -> tuple[list[str], dict[str, list[float]]]:
    """(cases, what was measured -> error over limit at each of them), NaN where it was not; the cases where it is largest."""
    series = {
        "A from PyTorch, as recorded": graph.recorded.of_cases(0),
        "B from PyTorch, as recorded": graph.recorded.of_cases(1),
        HERE: graph.answers.of_cases(),
    }
    cases = list(dict.fromkeys(case for values in series.values() for case in values))
    largest = sorted(cases, key=lambda case: -max(values.get(case, 0.0) for values in series.values()))[:MOST_CASES]
    kept = [case for case in cases if case in largest]
    drawn = {name: [_drawable(values.get(case, math.nan)) for case in kept] for name, values in series.items()}
    return kept, {name: values for name, values in drawn.items() if not all(map(math.isnan, values))}


def operator_rows(graph: GraphDifference) -> list[tuple[str, int, int]]:
    """(operator, nodes of A, nodes of B): those whose numbers differ most first, then the most frequent."""
    a, b = graph.operators
    rows = [(name, a.get(name, 0), b.get(name, 0)) for name in dict.fromkeys((*a, *b))]
    return sorted(rows, key=lambda row: (-abs(row[1] - row[2]), -max(row[1:])))[:MOST_OPERATORS]


def _drawable(ratio: float) -> float:
    return ratio if math.isnan(ratio) else min(max(ratio, _NOTHING), _ENDLESS)


def _draw_errors(axes: Any, graph: GraphDifference) -> None:
    cases, series = error_series(graph)
    for (name, values), marker in zip(series.items(), "osx", strict=False):
        axes.plot(range(len(cases)), values, marker=marker, linewidth=0.8, markersize=5, label=plot_text(name))
    axes.axhline(1.0, color="tab:red", linestyle="--", linewidth=1, label="limit")
    axes.set_yscale("log")
    axes.set_ylabel("error / limit (1e-6: equal)")
    axes.set_xticks(range(len(cases)), [plot_text(_short(case)) for case in cases], fontsize=7)
    for label in axes.get_xticklabels():
        label.set(rotation=60, ha="right", va="top", rotation_mode="anchor")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * (high / low) ** 0.35)  # room for the legend
    verdict = "not compared" if graph.answers.why_not else "agree" if graph.answers.agree else "differ"
    axes.set_title(plot_text(f"graph {graph.name}: answers {verdict}"), fontsize=9, loc="left")
    axes.legend(fontsize=7, loc="upper left", ncols=2)
    axes.grid(axis="y", alpha=0.3)


def _draw_operators(axes: Any, graph: GraphDifference) -> None:
    rows = operator_rows(graph)
    places: Sequence[int] = range(len(rows))
    for side, (shift, label) in enumerate(((-0.2, "A"), (0.2, "B"))):
        counts = [row[side + 1] for row in rows]
        bars = axes.barh([place + shift for place in places], counts, height=0.38, label=plot_text(label))
        axes.bar_label(bars, fontsize=6, padding=1)
    axes.set_yticks(places, [plot_text(_short(row[0])) for row in rows])
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("nodes")
    axes.set_title(plot_text(_counted(graph.operators)), fontsize=9, loc="left")
    axes.legend(fontsize=7, loc="lower right")


def _counted(operators: tuple[Mapping[str, int], Mapping[str, int]]) -> str:
    a, b = (sum(counts.values()) for counts in operators)
    return f"{a} nodes in A, {b} in B"


def _short(name: str) -> str:
    return name if len(name) <= _LETTERS else f"{name[: _LETTERS - 3]}..."
