"""The commands of half precision: convert and bisect, and the options that to-onnx shares with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click
from attn_runtime.cli.options import json_option, print_json, quiet_option, say
from attn_runtime.errors import UsageError

from ..precision import schemes

Command = TypeVar("Command", bound=Callable[..., Any])

#: What --help says of the flags of `schemes.FLAGS`.
_FLAG_TEXTS = {"fp16": "Half precision: a strongly typed graph in float16.", "bf16": "The same in bfloat16."}


def _apply(options: Sequence[Callable[[Command], Command]], command: Command) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def precision_options(command: Command) -> Command:
    """--precision, a flag for those that have one, and --half-io: `precisions` and `half_io` of a command."""
    names = ", ".join(schemes.names())
    options = [
        click.option("--precision", "precisions", multiple=True, metavar="NAME", help=f"What to convert to: {names}."),
        *(
            click.option(f"--{name}", "precisions", flag_value=name, multiple=True, help=text)
            for name, text in _FLAG_TEXTS.items()
        ),
        click.option("--half-io", is_flag=True, help="float16 inputs and outputs too (with --fp16)."),
    ]
    return _apply(options, command)


def chosen_scheme(precisions: Sequence[str], half_io: bool, needed: bool) -> str | None:
    """The scheme's name, None where none is asked for and none is `needed`.

    UsageError for several, for one that is unknown or has no float16 inputs and outputs with `half_io`, and for that alone.
    """
    names = list(dict.fromkeys(precisions))
    if len(names) > 1:
        raise UsageError(
            f"{' and '.join(map(schemes.option, names))}: one of them at a time; run attn-export convert twice to have "
            "both in a bundle"
        )
    if not names:
        if needed or half_io:
            raise schemes.none_named("--half-io" if half_io else "convert")
        return None
    schemes.get(names[0]).check_half_io(half_io)
    return names[0]


def quantise_options(command: Command) -> Command:
    """What there is to choose of a precision that quantises."""
    options = [
        click.option("--calibrate", metavar="FOLDER|FILE.npz|package.module:callable",
                     help="Samples of inputs that ranges of activations are measured on; of a generator a folder of .txt, or "
                     "rows of tokens, which its perplexity is told over too.  [default: the golden inputs]"),
        click.option("--calibration", metavar="METHOD", help="How a range is told from them: min-max, entropy or percentile."),
        click.option("--block-size", type=int, metavar="ROWS", help="Rows of a weight that share a scale (int4-weights)."),
        click.option("--rounding", metavar="METHOD", help="How weights are rounded.  [default: the precision's own]"),
        click.option("--min-agreement", type=float, metavar="SHARE",
                     help="Least share of rows with the reference's class, or of a generator's recorded tokens, as in 0.99."),
        click.option("--leave", multiple=True, metavar="NODE|MODULE", help="Leave this as it is; repeatable."),
        click.option("--max-size", type=float, metavar="MB", help="Most megabytes of the file for a CPU."),
    ]  # fmt: skip
    return _apply(options, command)


def chosen_quantisation(options: dict[str, Any]) -> Any:
    """What `quantise_options` gave a command, taken out of its `options`, as `convert` takes it."""
    from .. import QuantiseOptions

    size = options.pop("max_size")
    own = ("calibrate", "calibration", "rounding", "min_agreement", "leave")
    return QuantiseOptions(
        block=options.pop("block_size"), max_size=None if size is None else int(size * 1e6),
        **{name: options.pop(name) for name in own},
    )  # fmt: skip


def input_options(command: Command) -> Command:
    """How the inputs of a plain file are told."""
    options = [
        click.option("--input", "inputs", multiple=True, metavar="SPEC",
                     help="Of a plain MODEL.onnx, as in to-onnx; repeatable."),
        click.option("--dim", "dims", multiple=True, metavar="NAME=MIN:OPT:MAX",
                     help="Range of a named dim of these inputs."),
    ]  # fmt: skip
    return _apply(options, command)


def common_options(command: Command) -> Command:
    """What convert and bisect have in common: how the inputs of a plain file are told, and how the run speaks."""
    options = [
        input_options,
        click.option("--stage-timeout", default=600.0, show_default=True, type=click.FloatRange(min=1),
                     help="Seconds per risky stage."),
        quiet_option,
        json_option,
    ]  # fmt: skip
    return _apply(options, command)


@click.command("convert")
@click.argument("path", metavar="BUNDLE|MODEL.onnx", type=click.Path(readable=False, path_type=Path))
@precision_options
@click.option(
    "--rtol",
    "--max-error",
    "rtol",
    type=float,
    help="Error allowed, of max|reference|.  [default: the precision's own: 1e-2 for fp16, 8e-2 for bf16, 5e-2 for int8]",
)
@quantise_options
@click.option("--plot", type=click.Path(readable=False, path_type=Path),
              help="Draw error against size of fewer and of more quantised weights.")  # fmt: skip
@click.option("--skip-pass", multiple=True, metavar="attention", help="Leave out the graph for TensorRT.")
@click.option(
    "-o",
    "--output",
    type=click.Path(readable=False, path_type=Path),
    help="NAME.onnx to write, for a plain MODEL.onnx.",
)
@click.option("--tensorrt", is_flag=True, help="For a plain MODEL.onnx: rewrite attention so that TensorRT fuses it.")
@common_options
def convert_command(
    path: Path,
    precisions: tuple[str, ...],
    half_io: bool,
    rtol: float | None,
    skip_pass: tuple[str, ...],
    output: Path | None,
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    tensorrt: bool,
    plot: Path | None,
    stage_timeout: float,
    quiet: bool,
    as_json: bool,
    **quantise: Any,
) -> None:
    """Add half precision or a quantised form to a bundle, held against its golden cases; or convert a plain graph.

    What overflows, drifts or loses too much stays as it is and is named. Exit code 4 when nothing makes the answers hold; the
    bundle is then as it was.
    """
    precision = chosen_scheme(precisions, half_io, needed=True)
    assert precision is not None
    from .. import Console, convert

    made = convert(
        path, precision, output=output, half_io=half_io, rtol=rtol, skip=skip_pass, inputs=inputs, dims=dims,
        tensorrt=tensorrt, console=Console(quiet), stage_seconds=stage_timeout, quantise=chosen_quantisation(quantise), plot=plot,
    )  # fmt: skip
    if as_json:
        print_json({"precisions": [typed.to_json() for typed in made]})


@click.command("bisect")
@click.argument("path", metavar="BUNDLE|MODEL.onnx", type=click.Path(readable=False, path_type=Path))
@click.option("--against", metavar="PRECISION|FILE", help="The other graph.  [default: the only other precision]")
@click.option("--graph", help="Which graph of the bundle, where it has several.")
@click.option("--case", help="One golden case alone.  [default: all of them]")
@click.option(
    "--plot", type=click.Path(readable=False, path_type=Path), help="Write the error along the graph as a picture."
)
@click.option(
    "-o", "--output", type=click.Path(readable=False, path_type=Path), help="Write the mended graph to NAME.onnx."
)
@click.option("--rtol", type=float, help="Error allowed in the mended graph, of max|reference|.")
@click.option("--force", is_flag=True, help="Replace what is in the output's place.")
@common_options
def bisect_command(
    path: Path,
    against: str | None,
    graph: str | None,
    case: str | None,
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    plot: Path | None,
    output: Path | None,
    rtol: float | None,
    force: bool,
    stage_timeout: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Find the first node where another graph of a model leaves the fp32 one: overflow, or more error than came in."""
    from .. import Console, bisect

    done = bisect(
        path, against, graph=graph, case=case, inputs=inputs, dims=dims, mend=output, rtol=rtol, force=force, plot=plot,
        console=Console(quiet or as_json), stage_seconds=stage_timeout,
    )  # fmt: skip
    if as_json:
        print_json(done.to_json())
    else:
        say(*str(done).split("\n"))
