"""The commands of half precision: convert and bisect, and the options that to-onnx shares with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from attn_runtime.cli.options import print_json
from attn_runtime.errors import UsageError

if TYPE_CHECKING:
    from attn_runtime.spec import TensorSpec

    from ..console import Console
    from ..precision.typed_graph import TypedGraph

Command = TypeVar("Command", bound=Callable[..., Any])

_OUTPUT = {"as_json": click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")}


def half_options(command: Command) -> Command:
    """--fp16, --bf16 and --half-io."""
    for option in reversed(
        [
            click.option("--fp16", is_flag=True, help="Half precision: a strongly typed graph in float16."),
            click.option("--bf16", is_flag=True, help="The same in bfloat16."),
            click.option("--half-io", is_flag=True, help="float16 inputs and outputs too (with --fp16)."),
        ]
    ):
        command = option(command)
    return command


def chosen_kind(fp16: bool, bf16: bool, half_io: bool, needed: bool) -> str | None:
    """ "fp16", "bf16", or None where neither is asked for and none is `needed`. UsageError for both, or half_io alone."""
    if fp16 and bf16:
        raise UsageError(
            "--fp16 and --bf16: one of them at a time; run attn-export convert twice to have both in a bundle"
        )
    if not (fp16 or bf16) and (needed or half_io):
        raise UsageError(f"{'--half-io' if half_io else 'convert'}: to which precision? Give --fp16 or --bf16")
    return "fp16" if fp16 else "bf16" if bf16 else None


def refuse_half_io(kind: str, half_io: bool) -> None:
    """UsageError for bfloat16 at the border."""
    if half_io and kind == "bf16":
        raise UsageError(
            "--half-io with --bf16: numpy has no bfloat16, so inputs and outputs stay float32. Leave --half-io out, or "
            "take --fp16"
        )


@click.command("convert")
@click.argument("path", metavar="BUNDLE|MODEL.onnx", type=click.Path(path_type=Path))
@half_options
@click.option("--rtol", type=float, help="Error allowed, of max|reference|.  [default: 1e-2 for fp16, 8e-2 for bf16]")
@click.option("--skip-pass", multiple=True, metavar="attention", help="Leave out the graph for TensorRT.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="NAME.onnx to write, for a plain MODEL.onnx.")
@click.option(
    "--input", "inputs", multiple=True, metavar="SPEC", help="Of a plain MODEL.onnx, as in to-onnx; repeatable."
)
@click.option("--dim", "dims", multiple=True, metavar="NAME=MIN:OPT:MAX", help="Range of a named dim of these inputs.")
@click.option("--tensorrt", is_flag=True, help="For a plain MODEL.onnx: rewrite attention so that TensorRT fuses it.")
@click.option(
    "--stage-timeout", default=600.0, show_default=True, type=click.FloatRange(min=1), help="Seconds per risky stage."
)
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
@_OUTPUT["as_json"]
def convert(
    path: Path,
    fp16: bool,
    bf16: bool,
    half_io: bool,
    rtol: float | None,
    skip_pass: tuple[str, ...],
    output: Path | None,
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    tensorrt: bool,
    stage_timeout: float,
    quiet: bool,
    as_json: bool,
) -> None:
    """Add half precision to a bundle, held against its golden cases; or convert a plain graph to -o NAME.onnx.

    What overflows or drifts stays in fp32 and is named. Exit code 4 when nothing makes the answers hold; the bundle is
    then as it was.
    """
    kind = chosen_kind(fp16, bf16, half_io, needed=True)
    assert kind is not None
    plain = path.is_file()
    if plain and output is None:
        raise UsageError(
            f"{path.name} is a plain graph, which is not changed in place; name the new file with -o NAME.onnx"
        )
    given = {"-o": output, "--tensorrt": tensorrt, "--input": inputs, "--dim": dims}
    if not plain and (names := [name for name, value in given.items() if value]):
        raise UsageError(
            f"{names[0]} is for a plain MODEL.onnx; a bundle has its own inputs, and gets model.{kind}.onnx and, where "
            f"TensorRT needs another form, model.{kind}-trt.onnx"
        )
    from ..console import Console
    from ..precision.convert import add_precision, convert_file

    console = Console(quiet)
    if output is None:
        made = add_precision(
            path, kind, half_io=half_io, rtol=rtol, skip=skip_pass, console=console, stage_seconds=stage_timeout
        )
    else:
        one = convert_file(
            path, output, kind, half_io=half_io, rtol=rtol, inputs=_specs(inputs, dims), skip=skip_pass, tensorrt=tensorrt,
            console=console, stage_seconds=stage_timeout,
        )  # fmt: skip
        made = [one]
    if as_json:
        print_json(to_json(made))


def _specs(inputs: tuple[str, ...], dims: tuple[str, ...]) -> tuple[TensorSpec, ...] | None:
    from ..source.input_specs import parse_dims, parse_inputs

    if dims and not inputs:
        raise UsageError("--dim gives the range of a dim that --input names; give --input too")
    return parse_inputs(inputs, parse_dims(dims)) if inputs else None


@dataclass(frozen=True)
class Half:
    """What to-onnx does after the export: the same as attn-export convert on the bundle it wrote."""

    kind: str
    half_io: bool
    skip: tuple[str, ...]

    @property
    def others(self) -> tuple[str, ...]:
        """What --skip-pass leaves out of the export itself."""
        return tuple(name for name in self.skip if name != _ATTENTION)

    def check(self, output: Path) -> None:
        """UsageError or BackendError before the export, for what would fail after it. Imports nothing heavy."""
        from ..precision.modelopt_autocast import require_autocast

        if output.suffix != ".attn":
            raise UsageError(
                f"--{self.kind} adds to a bundle, and {output.name} is none; write NAME.attn, or convert the file after "
                f"the export: attn-export convert {output} --{self.kind} -o {output.stem}.{self.kind}.onnx"
            )
        refuse_half_io(self.kind, self.half_io)
        require_autocast()

    def add(self, bundle: Path, console: Console, stage_seconds: float) -> dict[str, Any]:
        from ..precision.convert import add_precision

        skip = tuple(name for name in self.skip if name == _ATTENTION)
        return to_json(
            add_precision(
                bundle, self.kind, half_io=self.half_io, skip=skip, console=console, stage_seconds=stage_seconds
            )
        )


_ATTENTION = "attention"


def to_json(made: list[TypedGraph]) -> dict[str, Any]:
    return {"precisions": [typed.to_json() for typed in made]}


@click.command("bisect")
@click.argument("path", metavar="BUNDLE|MODEL.onnx", type=click.Path(path_type=Path))
@click.option("--against", metavar="PRECISION|FILE", help="The other graph.  [default: the only other precision]")
@click.option("--graph", help="Which graph of the bundle, where it has several.")
@click.option("--case", help="One golden case alone.  [default: all of them]")
@click.option(
    "--input", "inputs", multiple=True, metavar="SPEC", help="Of a plain MODEL.onnx, as in to-onnx; repeatable."
)
@click.option("--dim", "dims", multiple=True, metavar="NAME=MIN:OPT:MAX", help="Range of a named dim of these inputs.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write the error along the graph as a picture.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the mended graph to NAME.onnx.")
@click.option("--rtol", type=float, help="Error allowed in the mended graph, of max|reference|.")
@click.option("--force", is_flag=True, help="Replace what is in the output's place.")
@click.option(
    "--stage-timeout", default=600.0, show_default=True, type=click.FloatRange(min=1), help="Seconds per risky stage."
)
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
@_OUTPUT["as_json"]
def bisect(
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
    from ..console import Console
    from ..precision.bisect_bundle import bisect_model
    from ..precision.bisect_report import check_plot, plot_bisection, report_lines

    if plot is not None:
        check_plot(plot)
    done = bisect_model(
        path, against, graph=graph, case=case, inputs=_specs(inputs, dims), mend=output, rtol=rtol, force=force,
        console=Console(quiet or as_json), stage_seconds=stage_timeout,
    )  # fmt: skip
    if plot is not None:
        plot_bisection(done, plot)
    if as_json:
        print_json(done.to_json())
    else:
        click.echo("\n".join(report_lines(done)))
