"""A bench report as a picture: latency and throughput over the batch size, of a generator in tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...escape import plot_text
from .. import BenchReport, GenerationBenchReport
from .picture_file import write_plot


def plot_bench(report: BenchReport | GenerationBenchReport, file: str | Path) -> None:
    """Write the picture to `file`, in the format of its suffix (.png, .svg, .pdf).

    Raises BackendError when matplotlib is not installed, UsageError for a suffix it does not know, OutputError when
    `file` can't be written.
    """
    write_plot(file, lambda: draw_bench(report))


def draw_bench(report: BenchReport | GenerationBenchReport) -> Any:
    """The same as a matplotlib Figure."""
    import matplotlib.figure

    # A Figure of its own, not pyplot: no display is looked for and no global state is left.
    figure = matplotlib.figure.Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    if isinstance(report, GenerationBenchReport):
        titles = "Time to the first token", "Generation", "tokens/s"
        latencies = [
            ("p50", [r.first_p50_ms for r in report.results]),
            ("p90", [r.first_p90_ms for r in report.results]),
        ]
        rates = [r.tokens_per_second for r in report.results]
    else:
        titles = "Latency of one call", "Throughput", "items/s"
        latencies = [
            ("p50", [r.p50_ms for r in report.results]),
            ("p90", [r.p90_ms for r in report.results]),
            ("p99", [r.p99_ms for r in report.results]),
        ]
        rates = [r.throughput for r in report.results]
    results = report.results
    places = range(len(results))
    for (label, values), marker in zip(latencies, "o^s", strict=False):
        left.plot(places, values, marker=marker, label=plot_text(label))
    left.set_title(plot_text(titles[0]))
    left.set_ylabel("ms")
    left.legend()
    bars = right.bar(places, rates, width=0.6)
    right.bar_label(bars, [f"{rate:,.3g}" if rate < 100 else f"{rate:,.0f}" for rate in rates])
    right.margins(y=0.12)
    right.set_title(plot_text(titles[1]))
    right.set_ylabel(plot_text(titles[2]))
    for axes in (left, right):
        axes.set_ylim(bottom=0)
        axes.set_xlabel(plot_text(report.batch_dim or "batch (fixed)"))
        axes.set_xticks(places, [str(r.batch) for r in results])
        axes.set_xlim(-0.6, len(results) - 0.4)
        axes.yaxis.set_major_formatter("{x:,.10g}")
        axes.set_axisbelow(True)
        axes.grid(axis="y", alpha=0.3)
    figure.suptitle(plot_text(f"{report.path} · {report.backend} on {report.device} · {report.call} call"))
    return figure
