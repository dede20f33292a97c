"""A bisection for people: the table of the error along the graph, and its picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn_runtime.escape import plot_text, plotting, printable
from attn_runtime.files import write_whole
from attn_runtime.tasks.plots import check_plot
from attn_runtime.text_format import columns

from .half import TypedGraph
from .layerwise import Bisection, Step, short

#: Rows of the table; --json has every tensor.
MAX_ROWS = 32


@dataclass(frozen=True)
class Bisected:
    """A bisection of what the user named. `precision` is the other graph's; `mended` was written in its place, if asked.

    As a string it is the first node at fault in a sentence, and a table of the error along the graph.
    """

    reference: str
    against: str
    precision: str
    cases: tuple[str, ...]
    bisection: Bisection
    mended: TypedGraph | None = None

    def __str__(self) -> str:
        return "\n".join(_report_lines(self))

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "against": self.against,
            "precision": self.precision,
            "cases": list(self.cases),
            **self.bisection.to_json(),
            "mended": None if self.mended is None else self.mended.to_json(),
        }


def _report_lines(done: Bisected) -> list[str]:
    bisection = done.bisection
    lines = []
    if bisection.first is None:
        lines.append(printable(f"{done.reference} and {done.against} do not part anywhere", None))
    else:
        first = bisection.first
        where = f", {first.source}" if first.source else ""
        opens = "no node stands out; the error grows most" if bisection.how == "creep" else "parts first"
        lines.append(
            f"{opens} at {printable(first.label)}: node {printable(first.node)} ({printable(first.operator)}{printable(where)}), "
            f'case "{printable(first.case)}": {first.reason(bisection.limit)}'
        )
    rows = [("", "node", "operator", "module", "max|fp32|", "error / max", "x its inputs'")]
    for step in _shown(bisection):
        mark = ">" if step is bisection.first else ""
        error = f"{step.lost} lost" if step.lost else f"{step.relative:.1e}"
        rows.append(
            (mark, printable(step.node, 40), step.operator, printable(step.module, 40), short(step.largest), error,
             "" if step.lost else f"{step.growth:.1f}")
        )  # fmt: skip
    if len(rows) - 1 < len(bisection.steps):
        lines.append(f"{len(rows) - 1} of {len(bisection.steps)} tensors, where the error grows; --json has them all")
    return [*lines, columns(rows)]


def _shown(bisection: Bisection) -> list[Step]:
    """The first step at fault, the last one, and those where the error grows most; in the graph's order."""
    if len(bisection.steps) <= MAX_ROWS:
        return list(bisection.steps)
    ranked = sorted(
        bisection.steps,
        key=lambda s: (s is not bisection.first, s is not bisection.steps[-1], not s.overflow, -s.growth),
    )
    chosen = {id(s) for s in ranked[:MAX_ROWS]}
    return [s for s in bisection.steps if id(s) in chosen]


@plotting()
def plot_bisection(done: Bisected, file: Path) -> None:
    """Write the error along the graph as a picture, in the format of the suffix (.png, .svg, .pdf).

    Raises what attn_runtime.tasks.plots.check_plot does, OutputError when `file` can't be written.
    """
    check_plot(file)
    import matplotlib.figure

    bisection, figure = done.bisection, matplotlib.figure.Figure(figsize=(10, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    places = list(range(len(bisection.steps)))
    # Elements that are lost have no error to draw; they are drawn over everything.
    top = max([10.0, *(4 * s.relative for s in bisection.steps if not s.lost)])
    errors = [top if s.lost else max(s.relative, 1e-9) for s in bisection.steps]
    above.plot(places, errors, color="tab:blue", linewidth=1, marker=".", markersize=4, label="error / max|fp32|")
    lost = [i for i in places if bisection.steps[i].lost]
    if lost:
        above.plot(lost, [top] * len(lost), "x", color="tab:red", label="inf or NaN where fp32 is finite")
    above.set_ylabel("error / max|fp32|")
    below.plot(
        places, [max(s.largest, 1e-9) for s in bisection.steps], color="tab:gray", linewidth=1, marker=".", markersize=4,
        label="max|fp32|",
    )  # fmt: skip
    if bisection.limit < float("inf"):
        below.axhline(
            bisection.limit, color="tab:red", linestyle="--", linewidth=1, label=f"limit {bisection.limit:.5g}"
        )
    below.set_ylabel("max|fp32|")
    below.set_xlabel("tensors in the order of the graph")
    if bisection.first is not None:
        place = next(i for i, s in enumerate(bisection.steps) if s is bisection.first)
        for axes in (above, below):
            axes.axvline(place, color="tab:orange", linewidth=1.5, alpha=0.7, label="parts first")
        first = bisection.first
        title = f"{first.label}, {first.operator}: {first.reason(bisection.limit)}"
        above.set_title(plot_text(title), fontsize=9, loc="left")
    for axes in (above, below):
        axes.set_yscale("log")
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    names = f"{done.reference} in fp32 against {done.against}, worst of {len(done.cases)} cases"
    figure.suptitle(plot_text(names))
    write_whole(file, lambda path: figure.savefig(path, dpi=130))
