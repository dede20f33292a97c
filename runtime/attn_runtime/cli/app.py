"""attn-run: every command maps its options to one public call and prints what that returns."""

from __future__ import annotations

import os
from typing import Any

import click

from .. import __version__
from .attention import attention
from .classify import classify_command, detect_command
from .compile import compile_command
from .generate import generate_command, translate_command
from .map import map_command
from .options import (
    NearestGroup,
    completion_epilog,
    json_option,
    picture_file,
    print_json,
    quiet_already_option,
    quiet_option,
    run_cli,
    session_options,
    threads_option,
    verbose_option,
)
from .printers import (
    draw_bench,
    print_bench_end,
    print_bench_head,
    print_bench_row,
    print_case,
    print_diagnosis,
    print_generated,
    print_info,
    print_passed_over,
    print_run,
    print_verified,
)
from .setup import setup_command
from .texts import answer_command, embed_command, fill_command, tag_command
from .transcribe import transcribe_command

# Imports of our own are inside the commands: --help must not wait for numpy.


path_argument = click.argument("path", type=click.Path(readable=False))
time_limit_option = click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="End what takes longer, with exit code 12; runs in a process of its own.  [default: none]",
)


def _whole_numbers(context: click.Context, option: click.Parameter, text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError:
        raise click.BadParameter(f"got {text!r}, expected whole numbers as in 1,8,32") from None


def _names(context: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part) if text else ()


def _sizes(context: click.Context, option: click.Parameter, texts: tuple[str, ...]) -> dict[str, int]:
    sizes = {}
    for text in texts:
        name, _, size = text.partition("=")
        if not name or not size.isdecimal():
            raise click.BadParameter(f"got {text!r}, expected NAME=SIZE as in T=128")
        sizes[name] = int(size)
    return sizes


@click.group(
    "attn-run",
    cls=NearestGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=completion_epilog("attn-run"),
)
@click.version_option(__version__, prog_name="attn-run")
@click.option(
    "--paranoid",
    is_flag=True,
    help="Read all of a bundle for its hashes, and believe nothing that is remembered of it.",
)
def cli(paranoid: bool) -> None:
    """Look into a bundle (NAME.attn) or ONNX file, run it, verify it against PyTorch's recorded answers, time it."""
    if paranoid:
        os.environ["ATTN_PARANOID"] = "1"  # for the C++ library and for child processes, too


@cli.command()
@path_argument
@quiet_already_option
@json_option
def info(path: str, as_json: bool) -> None:
    """Inputs, outputs and their ranges; stages with the error measured after each; golden cases; files."""
    from .. import describe

    description = describe(path)
    (print_json if as_json else print_info)(description)


@cli.command()
@path_argument
@click.argument("input_file", metavar="INPUT", type=click.Path(readable=False))
@click.option("--top", default=5, show_default=True, help="How many classes to print.")
@click.option("-o", "--output", type=click.Path(readable=False), help="Write every output to this .npz.")
@threads_option
@session_options
@time_limit_option
@quiet_option
@verbose_option
@json_option
def run(path: str, input_file: str, quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
    """Run on INPUT: an image, a recording (.wav), or an .npz with an array for each input; - is stdin, with any of them."""
    from .. import run_file

    result = run_file(path, input_file, **options)
    if as_json:
        print_json(result.to_json())
    else:
        print_run(result, quiet)
        print_passed_over(result, verbose)


@cli.command()
@path_argument
@click.option("--junit", type=click.Path(readable=False), help="Write what was found as JUnit XML, for a build server.")
@click.option("--markdown", type=click.Path(readable=False), help="Write what was found as Markdown tables.")
@session_options
@time_limit_option
@quiet_option
@verbose_option
@json_option
def verify(path: str, quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
    """Replay the golden cases and compare with what PyTorch answered. Exit code 4 when one does not match.

    With --quiet the exit code is the answer.
    """
    from .. import verify

    told: dict[str, Any] = {} if quiet or as_json else {"on_case": print_case, "on_generated": print_generated}
    report = verify(path, **options, check=False, **told)
    if as_json:
        print_json(report.to_json())
        report.require()
    else:
        print_passed_over(report, verbose)
        print_verified(report, quiet)


@cli.command()
@path_argument
@click.option(
    "--batch",
    "batches",
    callback=_whole_numbers,
    help="Batch sizes, as in 1,8,32.  [default: the least, the usual and the largest that the model was exported for]",
)
@click.option("--dim", "sizes", multiple=True, callback=_sizes, help="Size of another dim, as in T=128. Repeatable.")
@click.option("--call", help="bound (preallocated buffers) or run, of one graph.  [default: bound]")
@click.option("--warmup", "warmup_s", default=0.5, show_default=True, help="Unmeasured seconds per size.")
@click.option("--seconds", "measure_s", default=2.0, show_default=True, help="Measured seconds per size, at least.")
@click.option("--min-runs", type=int, help="Measured calls per size, at least.  [default: 20; of whole answers 3]")
@click.option(
    "--new-tokens", type=int, help="Tokens of each answer of a generator.  [default: 32, or what there is room for]"
)
@threads_option
@click.option("--seed", default=0, show_default=True, help="Seed of the random inputs.")
@click.option(
    "--backends",
    callback=_names,
    help="Time several on the CPU in turn, as in ort,openvino; all takes those there are.",
)
@click.option(
    "--remember",
    is_flag=True,
    help="Keep the times in the bundle, with this machine's name. Of --backends, the fastest is taken from then on.",
)
@click.option(
    "--plot", type=click.Path(readable=False), callback=picture_file, help="Write a picture of it, as in bench.png."
)
@session_options
@quiet_option
@verbose_option
@json_option
def bench(path: str, quiet: bool, verbose: bool, as_json: bool, plot: str | None, **options: Any) -> None:
    """Latency, throughput and peak memory by batch size, on random inputs.

    A bundle that generates is timed as it writes: the time to the first token, and tokens per second. --graph times one of
    its graphs instead.
    """
    from .. import bench

    if plot and options["backends"]:
        raise click.UsageError("--plot draws one backend; leave it or --backends out")
    told: dict[str, Any] = {} if as_json else {"on_open": print_bench_head, "on_size": print_bench_row}
    report = bench(path, **options, **told)
    if plot:
        draw_bench(report, plot)
    if as_json:
        print_json(report.to_json())
    else:
        print_bench_end(report, quiet)
        print_passed_over(report, verbose)


@cli.command()
@quiet_option
@json_option
@click.pass_context
def doctor(context: click.Context, quiet: bool, as_json: bool) -> None:
    """What this machine can run and build, what it can't and why, what to install. Exit code 10 when it runs nothing.

    With --quiet the exit code is the answer.
    """
    from .. import diagnose

    print_diagnosis(diagnose(), quiet, as_json, context)


cli.add_command(compile_command)
cli.add_command(classify_command)
cli.add_command(detect_command)
cli.add_command(embed_command)
cli.add_command(tag_command)
cli.add_command(fill_command)
cli.add_command(answer_command)
cli.add_command(generate_command)
cli.add_command(translate_command)
cli.add_command(transcribe_command)
cli.add_command(map_command)
cli.add_command(attention)
cli.add_command(setup_command)


def main() -> None:
    """The console script."""
    run_cli(lambda: cli, "attn-run")


if __name__ == "__main__":
    main()
