"""What `attn-run bench` prints: a row for each batch size, of one graph or of a generator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from .options import say

if TYPE_CHECKING:
    from ..tasks import BenchReport, GenerationBenchReport, GenerationSize, SizeResult


def print_head(writes: bool) -> None:
    """What the columns are, before the first row: measuring takes seconds. `writes` says that it is of a generator."""
    if not writes:
        say(f"{'batch':>6} {'runs':>7} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'mean ms':>9} "
                   f"{'items/s':>10} {'peak memory':>12}")  # fmt: skip
        return
    say(f"{'batch':>6} {'runs':>5} {'prompt':>7} {'new':>6} {'first p50 ms':>13} {'p90 ms':>9} {'ms/token':>9} "
               f"{'tokens/s a row':>15} {'tokens/s':>10} {'peak memory':>12}")  # fmt: skip


def print_row(size: SizeResult | GenerationSize) -> None:
    if hasattr(size, "new_tokens"):
        _print_generation(cast("GenerationSize", size))
    else:
        _print_size(size)


def _print_size(size: SizeResult) -> None:
    from ..text_format import bytes_text

    say(
        f"{size.batch:6} {size.runs:7} {size.p50_ms:9.3f} {size.p90_ms:9.3f} {size.p99_ms:9.3f} {size.mean_ms:9.3f} "
        f"{size.throughput:10.1f} {bytes_text(size.peak_memory):>12}"
    )


def _print_generation(size: GenerationSize) -> None:
    from ..text_format import bytes_text

    further = "-" if size.token_ms is None else f"{size.token_ms:.3f}"
    say(
        f"{size.batch:6} {size.runs:5} {size.prompt:7} {size.new_tokens:6} {size.first_p50_ms:13.3f} {size.first_p90_ms:9.3f} "
        f"{further:>9} {size.row_tokens_per_second:15.1f} {size.tokens_per_second:10.1f} {bytes_text(size.peak_memory):>12}"
    )


def print_end(report: BenchReport | GenerationBenchReport, quiet: bool) -> None:
    if quiet:
        return
    spans = {"VmHWM": "VmHWM, while that size ran", "ru_maxrss": "ru_maxrss, since it started"}
    span = spans.get(report.results[0].memory_source, "not told on this platform")
    say(f"{report.call} call, {report.choice}; peak memory is of the process ({span})")


def draw(report: BenchReport | GenerationBenchReport, file: str | Path) -> None:
    from ..tasks.plots import plot_bench

    plot_bench(report, file)
