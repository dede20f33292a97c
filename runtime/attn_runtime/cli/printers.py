"""What `attn-run info`, `run`, `verify`, `bench` and `doctor` print, from what the public calls return, and what several do."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import click

from ..escape import printable
from .options import print_json, say

if TYPE_CHECKING:
    from ..compare import Difference
    from ..doctor import Diagnosis
    from ..generate import Replayed
    from ..session import RunReport
    from ..tasks import (
        BenchReport,
        CaseResult,
        ComparisonReport,
        GenerationBenchReport,
        GenerationSize,
        RunResult,
        SizeResult,
        VerifyReport,
    )

# Imports of our own are inside the functions: --help must not wait for numpy.


class Chosen(Protocol):
    """A report on what a backend did."""

    @property
    def passed_over(self) -> tuple[str, ...]: ...


class Noted(Protocol):
    """An input as it was given, with what is to say of it."""

    @property
    def given(self) -> str: ...
    @property
    def notes(self) -> tuple[str, ...]: ...


def print_passed_over(report: Chosen, verbose: bool) -> None:
    """With --verbose, on stderr: why no other backend or device ran it."""
    for reason in report.passed_over or ("none",) if verbose else ():
        say(f"passed over: {reason}", err=True)


def print_notes(inputs: Iterable[Noted], quiet: bool) -> None:
    """On stderr: what was done to each input to fit it to the model, or what the model does not see of it."""
    for each in inputs:
        for note in () if quiet else each.notes:
            say(f"note: {printable(each.given, 60)}: {printable(note)}", err=True)


def run_line(report: RunReport) -> str:
    """How a task was run, behind its answers."""
    batches = "batch" if report.calls == 1 else "batches"
    return f"{report.choice}; {report.calls} {batches}, {report.seconds * 1000:.2f} ms"


def print_info(description: dict[str, Any]) -> None:
    from ..tasks import info_lines

    say(*info_lines(description))


def print_diagnosis(diagnosis: Diagnosis, quiet: bool, as_json: bool, context: click.Context) -> None:
    """What is there; exit code 10 where nothing runs."""
    from ..doctor import diagnosis_lines
    from ..errors import BackendError

    if as_json:
        print_json(diagnosis.to_json())
    elif not quiet:
        say(*diagnosis_lines(diagnosis))
    if diagnosis.auto is None:
        context.exit(BackendError.exit_code)


def print_run(result: RunResult, quiet: bool) -> None:
    """What ran it; the likeliest classes of every row, or of a graph that is no classifier the outputs in numbers."""
    from ..text_format import columns

    for note in () if quiet else result.notes:
        say(f"note: {note}", err=True)
    if not quiet:
        say(f"{result.choice}; {result.seconds * 1000:.2f} ms")
    form = "11.4g" if result.scores == "none" else "7.2%"
    for number, row in enumerate(result.top or ()):
        if len(result.top or ()) > 1:
            say(f"row {number}")
        say(*columns([(f"{guess.probability:{form}}", printable(guess.label)) for guess in row]).split("\n"))
    if result.top is None:
        for name, summary in result.to_json()["outputs"].items():
            numbers = "  ".join(f"{key} {summary[key]:.6g}" for key in ("min", "mean", "max") if key in summary)
            odd = f"  {summary['not_finite']} not finite" if summary["not_finite"] else ""
            say(f"{printable(name)}: {summary['dtype']} {summary['shape']}  {numbers}{odd}")


def print_case(case: CaseResult) -> None:
    """A line for each output that does not match, and one for all that do: the one nearest to its limit."""
    sizes = ", ".join(f"{name}={size}" for name, size in case.sizes.items())
    label = printable(case.case if case.graph == "model" else f"{case.graph} {case.case}")
    label += f" ({printable(sizes)})" if sizes else ""
    for d in case.differences:
        if not d.passed:
            say(f"FAIL {label} {printable(d.output)}: {d.problem or _error(d)}")
    if matching := [d for d in case.differences if d.passed]:
        nearest = max(matching, key=lambda d: d.ratio)
        among = f"{len(matching)} outputs, nearest to its limit " if len(matching) > 1 else ""
        say(f"ok   {label} {among}{printable(nearest.output)}: {_error(nearest)}")


def _error(difference: Difference) -> str:
    from ..text_format import max_fill_entry

    beside = "".join(f", beside fill values of {size:.3g}" for size in max_fill_entry(difference).values())
    return f"max |error| {difference.max_error:.2g}, allowed {difference.limit:.2g}{beside}"


def print_generated(replayed: Replayed) -> None:
    """One answer that was written, beside PyTorch's."""
    if replayed.problem:
        text = replayed.problem
    elif replayed.same:
        text = f"the same tokens, scores off by {replayed.score_error:.2g}, allowed {replayed.allowed_error:.2g}"
    else:
        text = "other tokens, undecided: PyTorch's are as good here, within the error allowed"
    sign = "FAIL" if replayed.problem else "ok  " if replayed.same else "?   "
    say(f"{sign} {printable(replayed.case)}, {replayed.rows}: {text}")


def print_verified(report: VerifyReport, quiet: bool) -> None:
    """What ran the cases; then, where all of them passed, how many there were. Raises what VerifyReport.require raises."""
    if not quiet:
        say(report.choice)
    report.require()
    if quiet:
        return
    say(f"{len(report.cases)} golden cases match PyTorch's answers")
    if rows := [r for r in report.generation if r.row is not None and r.drafted is None]:
        same = sum(r.same for r in rows)
        say(f"{same} of {len(rows)} generated answers are PyTorch's, token by token")
    for note in report.notes:
        say(f"note: {note}", err=True)


def print_bench_head(writes: bool) -> None:
    """What the columns are, before the first row: measuring takes seconds. `writes` says that it is of a generator."""
    if not writes:
        say(f"{'batch':>6} {'runs':>7} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'mean ms':>9} "
                   f"{'items/s':>10} {'peak memory':>12}")  # fmt: skip
        return
    say(f"{'batch':>6} {'runs':>5} {'prompt':>7} {'new':>6} {'first p50 ms':>13} {'p90 ms':>9} {'ms/token':>9} "
               f"{'tokens/s a row':>15} {'tokens/s':>10} {'peak memory':>12}")  # fmt: skip


def print_bench_row(size: SizeResult | GenerationSize) -> None:
    if hasattr(size, "new_tokens"):
        _print_bench_generation(cast("GenerationSize", size))
    else:
        _print_bench_size(size)


def _print_bench_size(size: SizeResult) -> None:
    from ..text_format import bytes_text

    say(
        f"{size.batch:6} {size.runs:7} {size.p50_ms:9.3f} {size.p90_ms:9.3f} {size.p99_ms:9.3f} {size.mean_ms:9.3f} "
        f"{size.throughput:10.1f} {bytes_text(size.peak_memory):>12}"
    )


def _print_bench_generation(size: GenerationSize) -> None:
    from ..text_format import bytes_text

    further = "-" if size.token_ms is None else f"{size.token_ms:.3f}"
    say(
        f"{size.batch:6} {size.runs:5} {size.prompt:7} {size.new_tokens:6} {size.first_p50_ms:13.3f} {size.first_p90_ms:9.3f} "
        f"{further:>9} {size.row_tokens_per_second:15.1f} {size.tokens_per_second:10.1f} {bytes_text(size.peak_memory):>12}"
    )


def print_bench_end(report: BenchReport | GenerationBenchReport | ComparisonReport, quiet: bool) -> None:
    if hasattr(report, "fastest"):
        _print_comparison(cast("ComparisonReport", report), quiet)
        return
    if quiet:
        return
    spans = {"VmHWM": "VmHWM, while that size ran", "ru_maxrss": "ru_maxrss, since it started"}
    span = spans.get(report.results[0].memory_source, "not told on this platform")
    say(f"{report.call} call, {report.choice}; peak memory is of the process ({span})")
    if report.remembered:
        say(f"remembered in {printable(report.remembered)}")


def _print_comparison(report: ComparisonReport, quiet: bool) -> None:
    say(f"{'batch':>6} {'backend':14} {'runs':>7} {'p50 ms':>9} {'ratio':>6}")
    for each in report.results:
        say(f"{each.batch:6} {each.backend:14} {each.runs:7} {each.p50_ms:9.3f} {each.ratio:6.2f}")
    if quiet:
        return
    checked = "answers as PyTorch's" if report.verified else "answers unchecked: a plain file has no golden cases"
    say(f"{report.call} call on the CPU, in turn, {checked}; {report.fastest} is the fastest")
    for reason in report.left_out:
        say(f"left out: {printable(reason)}")
    if report.remembered:
        say(f"remembered in {printable(report.remembered)}: {report.fastest} is taken here where no backend is named")


def draw_bench(report: BenchReport | GenerationBenchReport | ComparisonReport, file: str | Path) -> None:
    from ..tasks.plots import plot_bench

    plot_bench(cast("BenchReport | GenerationBenchReport", report), file)
