"""attn-run: every command maps its options to one public call and prints what that returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from .attention import attention
from .classify import classify_command
from .compile import compile_command
from .generate import generate_command, translate_command
from .options import NearestGroup, print_json, run_cli
from .setup import setup_command

if TYPE_CHECKING:
    from ..compare import Difference
    from ..doctor.doctor import Diagnosis
    from ..generate.verify import Replayed
    from ..tasks.benchmark import SizeResult
    from ..tasks.verification import CaseResult

# Imports of our own are inside the commands: --help must not wait for numpy.


def session_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that choose what is opened and where it runs."""
    for option in (
        click.option("--precision", help="Which of the bundle's precisions; fp32 where there is one."),
        click.option("--graph", help="Which graph of a bundle that has several."),
        click.option("--backend", help="Which backend; attn-run doctor lists them. Chosen when left out."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N."),
    ):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
path_argument = click.argument("path", type=click.Path())


def _whole_numbers(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise click.BadParameter(f"got {text!r}, expected whole numbers as in 1,8,32") from None


def _sizes(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, int]:
    sizes = {}
    for text in texts:
        name, _, size = text.partition("=")
        if not name or not size.isdecimal():
            raise click.BadParameter(f"got {text!r}, expected NAME=SIZE as in T=128")
        sizes[name] = int(size)
    return sizes


@click.group(cls=NearestGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="attn-run")
def cli() -> None:
    """Look into a bundle (NAME.attn) or ONNX file, run it, verify it against PyTorch's recorded answers, time it."""


@cli.command()
@path_argument
@json_option
def info(path: str, as_json: bool) -> None:
    """Inputs, outputs and their ranges; stages with the error measured after each; golden cases; files."""
    from ..tasks.info import describe, info_lines

    told = describe(path)
    if as_json:
        print_json(told)
    else:
        click.echo("\n".join(info_lines(told)))


@cli.command()
@path_argument
@click.argument("input_file", metavar="INPUT", type=click.Path())
@click.option("--top", default=5, show_default=True, help="How many classes to print.")
@click.option("-o", "--output", type=click.Path(), help="Write every output to this .npz.")
@click.option("--threads", type=int, help="Threads that one node may use on the CPU.")
@session_options
@json_option
def run(path: str, input_file: str, as_json: bool, **options: Any) -> None:
    """Run on INPUT: an image, a recording (.wav), or an .npz with an array for each input."""
    from ..tasks.file_run import run_file, summary
    from ..text_format import columns, printable

    result = run_file(path, input_file, **options)
    if as_json:
        print_json(result.to_json())
        return
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{result.choice}; {result.seconds * 1000:.2f} ms")
    for number, row in enumerate(result.top or ()):
        if len(result.top or ()) > 1:
            click.echo(f"row {number}")
        click.echo(columns([(f"{guess.probability:7.2%}", printable(guess.label)) for guess in row]))
    if result.top is None:
        for name, value in result.outputs.items():
            told = summary(value)
            numbers = "  ".join(f"{key} {told[key]:.6g}" for key in ("min", "mean", "max") if key in told)
            odd = f"  {told['not_finite']} not finite" if told["not_finite"] else ""
            click.echo(f"{printable(name)}: {told['dtype']} {told['shape']}  {numbers}{odd}")


@cli.command()
@path_argument
@session_options
@json_option
def verify(path: str, as_json: bool, **options: Any) -> None:
    """Replay the golden cases and compare with what PyTorch answered. Exit code 4 when one does not match."""
    from ..tasks.verification import verify as verify_bundle

    said: dict[str, Any] = {} if as_json else {"on_case": _print_case, "on_generated": _print_generated}
    report = verify_bundle(path, **options, check=False, **said)
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(report.choice)
    report.require()
    if not as_json:
        click.echo(f"{len(report.cases)} golden cases match PyTorch's answers")
        if rows := [r for r in report.generation if r.row is not None]:
            same = sum(r.same for r in rows)
            click.echo(f"{same} of {len(rows)} generated answers are PyTorch's, token by token")
        for note in report.notes:
            click.echo(f"note: {note}", err=True)


def _print_generated(found: Replayed) -> None:
    from ..text_format import printable

    rows = "the batch" if found.row is None else f"row {found.row} alone"
    if found.problem:
        told = found.problem
    elif found.same:
        told = f"the same tokens, scores off by {found.score_error:.2g}, allowed {found.allowed_error:.2g}"
    else:
        told = "other tokens, undecided: PyTorch's are as good here, within the error allowed"
    click.echo(
        f"{'FAIL' if found.problem else 'ok  ' if found.same else '?   '} {printable(found.case)}, {rows}: {told}"
    )


def _print_case(case: CaseResult) -> None:
    """A line for each output that does not match, and one for all that do: the one nearest to its limit."""
    from ..text_format import printable

    sizes = ", ".join(f"{name}={size}" for name, size in case.sizes.items())
    named = printable(case.case if case.graph == "model" else f"{case.graph} {case.case}")
    named += f" ({printable(sizes)})" if sizes else ""
    for d in case.differences:
        if not d.passed:
            click.echo(f"FAIL {named} {d.output}: {d.problem or _told(d)}")
    if matching := [d for d in case.differences if d.passed]:
        nearest = max(matching, key=lambda d: d.max_error / d.limit if d.limit else 0.0)
        among = f"{len(matching)} outputs, nearest to its limit " if len(matching) > 1 else ""
        click.echo(f"ok   {named} {among}{nearest.output}: {_told(nearest)}")


def _told(difference: Difference) -> str:
    return f"max |error| {difference.max_error:.2g}, allowed {difference.limit:.2g}"


@cli.command()
@path_argument
@click.option("--batch", "batches", callback=_whole_numbers, help="Batch sizes, as in 1,8,32.  [default: min,opt,max]")
@click.option("--dim", "sizes", multiple=True, callback=_sizes, help="Size of another dim, as in T=128. Repeatable.")
@click.option("--call", default="bound", show_default=True, help="bound (preallocated buffers) or run.")
@click.option("--warmup", "warmup_s", default=0.5, show_default=True, help="Unmeasured seconds per size.")
@click.option("--seconds", "measure_s", default=2.0, show_default=True, help="Measured seconds per size, at least.")
@click.option("--min-runs", default=20, show_default=True, help="Measured calls per size, at least.")
@click.option("--threads", type=int, help="Threads that one node may use on the CPU.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random inputs.")
@click.option("--plot", type=click.Path(), help="Write a picture of it, as in bench.png.")
@session_options
@json_option
def bench(path: str, as_json: bool, plot: str | None, **options: Any) -> None:
    """Latency, throughput and peak memory by batch size, on random inputs."""
    from ..tasks.benchmark import bench as bench_graph

    if not as_json:
        click.echo(f"{'batch':>6} {'runs':>7} {'p50 ms':>9} {'p90 ms':>9} {'p99 ms':>9} {'mean ms':>9} "
                   f"{'items/s':>10} {'peak memory':>12}")  # fmt: skip
    report = bench_graph(path, **options, on_size=None if as_json else _print_size)
    if plot:
        from ..tasks.plots.bench import plot_bench

        plot_bench(report, plot)
    if as_json:
        print_json(report.to_json())
    else:
        click.echo(
            f"{report.call} call, {report.choice}; peak memory is of the process ({_memory_span(report.results[0])})"
        )


def _print_size(size: SizeResult) -> None:
    from ..text_format import bytes_text

    click.echo(
        f"{size.batch:6} {size.runs:7} {size.p50_ms:9.3f} {size.p90_ms:9.3f} {size.p99_ms:9.3f} {size.mean_ms:9.3f} "
        f"{size.throughput:10.1f} {bytes_text(size.peak_memory):>12}"
    )


def _memory_span(size: SizeResult) -> str:
    spans = {"VmHWM": "VmHWM, while that size ran", "ru_maxrss": "ru_maxrss, since it started"}
    return spans.get(size.memory_source, "not told on this platform")


def doctor_command(diagnosis: Callable[[], Diagnosis]) -> click.Command:
    """A `doctor` that tells what `diagnosis` finds; the exporter's command line has one with more in it."""

    @click.command("doctor")
    @json_option
    @click.pass_context
    def doctor(context: click.Context, as_json: bool) -> None:
        """What this machine can run and build, what it can't and why, what to install. Exit code 10 when it runs nothing."""
        from ..doctor.doctor import diagnosis_lines
        from ..errors import BackendError

        found = diagnosis()
        if as_json:
            print_json(found.to_json())
        else:
            click.echo("\n".join(diagnosis_lines(found)))
        if found.auto is None:
            context.exit(BackendError.exit_code)

    return doctor


def _diagnose() -> Diagnosis:
    from ..doctor.doctor import diagnose

    return diagnose()


cli.add_command(doctor_command(_diagnose))
cli.add_command(compile_command)
cli.add_command(classify_command)
cli.add_command(generate_command)
cli.add_command(translate_command)
cli.add_command(attention)
cli.add_command(setup_command)


def main() -> None:
    """The console script."""
    run_cli(cli, "attn-run")


if __name__ == "__main__":
    main()
