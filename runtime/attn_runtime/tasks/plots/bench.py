"""A bench report as a picture: latency and throughput over the batch size."""

from __future__ import annotations

from pathlib import Path

from ...files import write_whole
from ...text_format import plot_text
from .. import BenchReport
from .picture_file import check_plot


def plot_bench(report: BenchReport, file: str | Path) -> None:
    """Write the picture to `file`, in the format of its suffix (.png, .svg, .pdf).

    Raises BackendError when matplotlib is not installed, UsageError for a suffix it does not know, OutputError when
    `file` can't be written.
    """
    check_plot(file)
    import matplotlib.figure

    # A Figure of its own, not pyplot: no display is looked for and no global state is left.
    figure = matplotlib.figure.Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    results = report.results
    places = range(len(results))
    for values, label, marker in (
        ([r.p50_ms for r in results], "p50", "o"),
        ([r.p90_ms for r in results], "p90", "^"),
        ([r.p99_ms for r in results], "p99", "s"),
    ):
        left.plot(places, values, marker=marker, label=label)
    left.set_title("Latency of one call")
    left.set_ylabel("ms")
    left.legend()
    bars = right.bar(places, [r.throughput for r in results], width=0.6)
    right.bar_label(bars, [f"{r.throughput:,.3g}" if r.throughput < 100 else f"{r.throughput:,.0f}" for r in results])
    right.margins(y=0.12)
    right.set_title("Throughput")
    right.set_ylabel("items/s")
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.set_xlabel(plot_text(report.batch_dim or "batch (fixed)"))
        axes.set_xticks(places, [str(r.batch) for r in results])
        axes.set_xlim(-0.6, len(results) - 0.4)
        axes.yaxis.set_major_formatter("{x:,.10g}")
        axes.set_axisbelow(True)
        axes.grid(axis="y", alpha=0.3)
    figure.suptitle(plot_text(f"{report.path} · {report.backend} on {report.device} · {report.call} call"))
    write_whole(Path(file), lambda path: figure.savefig(path, dpi=150))
