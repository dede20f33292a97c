"""The front of a quantisation: error against size and speed, for fewer and for more quantised weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from attn_runtime.escape import plot_text
from attn_runtime.tasks.plots import write_plot
from attn_runtime.text_format import columns

from .half import TypedGraph
from .quantisation import Quantisation, file_bytes
from .quantised import Point, measure


@dataclass(frozen=True)
class FrontPoint:
    """One choice. `left` is how many weights stay as they are, `error` of max|reference|, `bytes` of the graph with its data,
    `milliseconds` of one call in ONNX Runtime here, with the inputs of a golden case in the middle of the ranges."""

    precision: str
    left: int
    error: float
    agreement: float | None
    bytes: int
    milliseconds: float
    chosen: bool = False

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


def measure_front(one: Quantisation, written: TypedGraph) -> tuple[FrontPoint, ...]:
    """The points of the search, each written and timed, from all weights quantised to fp32; none where there was no search.

    `written` is the chosen one, whose error is what its file really answered.
    """
    if one.found is None or one.found.chosen is None:
        return ()
    searched = set(one.found.alone)
    error = max(check.difference.relative_error for check in written.checks)
    left = tuple(node for node in one.left if node in searched)
    chosen = replace(one.found.chosen, left=left, error=error)
    points = sorted(
        [chosen, *(p for p in one.found.front if len(p.left) != len(left))], key=lambda point: len(point.left)
    )
    paths = [one.work / f"front{number}.onnx" for number in range(len(points))]
    for point, path in zip(points, paths, strict=True):
        one.write_file({*one.left} - searched | {*point.left}, path)
    # ReferenceSet keeps the cases in the order of their sizes.
    case = one.record.cases[len(one.record.cases) // 2]
    *seconds, exact = measure([*paths, one.source], case.inputs, one.isolated)
    name = one.scheme.name
    made = [_point(name, p, path, s, p is chosen) for p, path, s in zip(points, paths, seconds, strict=True)]
    for path in paths:
        for file in (path, path.with_name(f"{path.name}.data")):
            file.unlink(missing_ok=True)
    nothing = Point(tuple(searched), 0.0, 0.0, None)
    return (*made, _point("fp32", nothing, one.source, exact, False))


def _point(precision: str, point: Point, path: Path, seconds: float, chosen: bool) -> FrontPoint:
    return FrontPoint(precision, len(point.left), point.error, point.agreement, file_bytes(path), 1e3 * seconds, chosen)


def front_table(points: Sequence[FrontPoint]) -> str:
    """For a person: a row a point, the chosen one marked."""
    rows = [("", "precision", "left in fp32", "error", "agreement", "MB", "ms a call")]
    for one in points:
        agreement = "" if one.agreement is None else f"{one.agreement:.1%}"
        error = f"{one.error:.1e}" if one.precision != "fp32" else ""
        rows.append(
            (">" if one.chosen else "", one.precision, str(one.left) if one.precision != "fp32" else "", error, agreement,
             f"{one.bytes / 1e6:.1f}", f"{one.milliseconds:.2f}")
        )  # fmt: skip
    return columns(rows)


def plot_front(graphs: Sequence[TypedGraph], file: Path) -> None:
    """Draw error against size, a line a graph, with the time of a call beside each point, in the format of the suffix.

    Raises what attn_runtime.tasks.plots.check_plot does, OutputError when `file` can't be written.
    """
    write_plot(file, lambda: draw_front(graphs), dpi=130)


def draw_front(graphs: Sequence[TypedGraph]) -> Any:
    """The same as a matplotlib Figure."""
    import matplotlib.figure

    figure = matplotlib.figure.Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for graph in graphs:
        points = [p for p in graph.front if p["precision"] != "fp32"]
        if not points:
            continue
        sizes, errors = [p["bytes"] / 1e6 for p in points], [max(p["error"], 1e-9) for p in points]
        (line,) = axes.plot(sizes, errors, marker="o", linewidth=1, label=plot_text(f"{graph.graph}, {graph.name}"))
        for p, size, error in zip(points, sizes, errors, strict=True):
            text = f"{p['milliseconds']:.3g} ms{', chosen' if p['chosen'] else ''}"
            axes.annotate(text, (size, error), xytext=(5, 5), textcoords="offset points", fontsize=8)
            if p["chosen"]:
                axes.plot([size], [error], marker="o", markersize=11, fillstyle="none", color=line.get_color())
        exact = next(p for p in graph.front if p["precision"] == "fp32")
        axes.axvline(exact["bytes"] / 1e6, color=line.get_color(), linestyle=":", linewidth=1)
        axes.annotate(
            f"fp32, {exact['milliseconds']:.3g} ms", (exact["bytes"] / 1e6, min(errors)), rotation=90, fontsize=8,
            xytext=(3, 0), textcoords="offset points",
        )  # fmt: skip
        axes.axhline(graph.tolerance.rtol, color="tab:red", linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.set_xlabel("MB of the graph and its weights")
    axes.set_ylabel("error / max|reference|; dashed: the limit")
    axes.grid(alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(fontsize=8)
    figure.suptitle(plot_text("fewer and more quantised weights"))
    return figure
