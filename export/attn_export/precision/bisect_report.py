"""A bisection for people: the table of the error along the graph, and its picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attn_runtime.errors import BackendError, UsageError
from attn_runtime.files.atomic_write import write_whole
from attn_runtime.text_format import columns, printable

from .bisect_bundle import Bisected
from .bisection import Bisection, Step, short

#: Rows of the table; --json has every tensor.
MOST_ROWS = 32


def report_lines(done: Bisected) -> list[str]:
    """The first node at fault in a sentence, and the error along the graph."""
    found = done.found
    lines = []
    if found.first is None:
        lines.append(f"{done.reference} and {done.against} do not part anywhere")
    else:
        first = found.first
        where = f", {first.source}" if first.source else ""
        opens = "no node stands out; the error grows most" if found.how == "creep" else "parts first"
        lines.append(
            f"{opens} at {printable(first.label)}: node {printable(first.node)} ({first.operator}{printable(where)}), "
            f'case "{first.case}": {first.told(found.limit)}'
        )
    rows = [("", "node", "operator", "module", "max|fp32|", "error / max", "x its inputs'")]
    for step in _shown(found):
        mark = ">" if step is found.first else ""
        error = f"{step.lost} lost" if step.lost else f"{step.relative:.1e}"
        rows.append(
            (mark, printable(step.node, 40), step.operator, printable(step.module, 40), short(step.largest), error,
             "" if step.lost else f"{step.growth:.1f}")
        )  # fmt: skip
    if len(rows) - 1 < len(found.steps):
        lines.append(f"{len(rows) - 1} of {len(found.steps)} tensors, where the error grows; --json has them all")
    return [*lines, columns(rows)]


def _shown(found: Bisection) -> list[Step]:
    """The first step at fault, the last one, and those where the error grows most; in the graph's order."""
    if len(found.steps) <= MOST_ROWS:
        return list(found.steps)
    ranked = sorted(
        found.steps, key=lambda s: (s is not found.first, s is not found.steps[-1], not s.overflow, -s.growth)
    )
    chosen = {id(s) for s in ranked[:MOST_ROWS]}
    return [s for s in found.steps if id(s) in chosen]


def check_plot(file: Path) -> None:
    """BackendError when matplotlib is not installed, UsageError for a suffix it does not know."""
    known = sorted(_figure().canvas.get_supported_filetypes())
    if (suffix := file.suffix.removeprefix(".")) not in known:
        raise UsageError(f"--plot {file}: got suffix {suffix or '(none)'}, expected one of {', '.join(known)}")


def _figure() -> Any:
    try:
        import matplotlib.figure
    except ImportError as error:
        raise BackendError("--plot needs matplotlib; pip install 'attn-runtime[plot]'") from error
    return matplotlib.figure.Figure(figsize=(10, 5.6), layout="constrained")


def plot_bisection(done: Bisected, file: Path) -> None:
    """Write the error along the graph as a picture, in the format of the suffix (.png, .svg, .pdf).

    Raises what `check_plot` does, OutputError when `file` can't be written.
    """
    check_plot(file)
    found, figure = done.found, _figure()
    above, below = figure.subplots(2, 1, sharex=True)
    places = list(range(len(found.steps)))
    # Elements that are lost have no error to draw; they are drawn over everything.
    top = max([10.0, *(4 * s.relative for s in found.steps if not s.lost)])
    errors = [top if s.lost else max(s.relative, 1e-9) for s in found.steps]
    above.plot(places, errors, color="tab:blue", linewidth=1, marker=".", markersize=4, label="error / max|fp32|")
    lost = [i for i in places if found.steps[i].lost]
    if lost:
        above.plot(lost, [top] * len(lost), "x", color="tab:red", label="inf or NaN where fp32 is finite")
    above.set_ylabel("error / max|fp32|")
    below.plot(
        places, [max(s.largest, 1e-9) for s in found.steps], color="tab:gray", linewidth=1, marker=".", markersize=4,
        label="max|fp32|",
    )  # fmt: skip
    if found.limit < float("inf"):
        below.axhline(found.limit, color="tab:red", linestyle="--", linewidth=1, label=f"limit {found.limit:.5g}")
    below.set_ylabel("max|fp32|")
    below.set_xlabel("tensors in the order of the graph")
    if found.first is not None:
        place = next(i for i, s in enumerate(found.steps) if s is found.first)
        for axes in (above, below):
            axes.axvline(place, color="tab:orange", linewidth=1.5, alpha=0.7, label="parts first")
        above.set_title(
            f"{found.first.label}, {found.first.operator}: {found.first.told(found.limit)}", fontsize=9, loc="left"
        )
    for axes in (above, below):
        axes.set_yscale("log")
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
        axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(f"{done.reference} in fp32 against {done.against}, worst of {len(done.cases)} cases")
    write_whole(file, lambda path: figure.savefig(path, dpi=130))
