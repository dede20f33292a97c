"""The command line `attn-export`: each command maps its options to one public call.

Nothing here imports torch before a command runs, so that --help answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from attn_runtime.cli import bench, print_diagnosis, print_passed_over
from attn_runtime.cli.options import (
    NearestGroup,
    completion_epilog,
    json_option,
    print_json,
    quiet_option,
    run_cli,
    verbose_option,
)

from .. import __version__
from .deploy import deploy
from .difference import diff_command
from .inspect import inspect_command
from .models import models
from .precision import (
    bisect_command,
    chosen_quantisation,
    chosen_scheme,
    convert_command,
    precision_options,
    quantise_options,
)
from .report import report_command
from .trt import to_trt


@click.group(
    "attn-export",
    cls=NearestGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=completion_epilog("attn-export"),
)
@click.version_option(__version__, prog_name="attn-export")
def cli() -> None:
    """Export PyTorch attention models to ONNX bundles that carry their own proof."""


def _source_options(command: Any) -> Any:
    for option in reversed(
        [
            click.option(
                "--checkpoint",
                type=click.Path(readable=False, path_type=Path),
                help="Weights: safetensors, a torch file, *.index.json, or a folder with one.",
            ),
            click.option(
                "--checkpoint-key",
                metavar="KEY",
                help="Where in the checkpoint the weights lie, as in params_ema.  [default: what fits, no average]",
            ),
            click.option("--config", multiple=True, metavar="KEY=VALUE", help="Argument for the callable; repeatable."),
            click.option(
                "--task",
                metavar="TAG",
                help="Of a saved model: text-classification, feature-extraction, ...  [default: what it was saved as]",
            ),
            click.option("--revision", help="Of hf:ORG/NAME: a branch, tag or commit."),
            click.option(
                "--download",
                is_flag=True,
                help="Fetch hf:ORG/NAME, or the weights of timm:NAME and torchvision:NAME, that the local cache has not.",
            ),
            click.option(
                "--seed", default=0, show_default=True, help="Seed of random weights and of the drawn inputs."
            ),
            quiet_option,
            json_option,
        ]
    ):
        command = option(command)
    return command


_inputs_from = click.option(
    "--inputs-from",
    metavar="package.module:callable",
    help="Draws all inputs of a case, where they depend on one another: (sizes, seed) -> arrays by input name.",
)


def _names(context: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


@cli.command("to-onnx")
@click.argument("source")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(readable=False, path_type=Path),
    help="NAME.attn (a bundle) or NAME.onnx.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="SPEC",
    help="'image:float32[batch,3,32,32]', with <HIGH or >=LOW<HIGH for integers and ~uniform(LOW,HIGH), "
    "~normal(MEAN,STD[,LOW,HIGH]) or ~lognormal(MU,SIGMA[,LOW,HIGH]) for floats; repeatable.",
)
@click.option(
    "--dim", "dims", multiple=True, metavar="NAME=MIN:OPT:MAX", help="Range of a named dim; a bare number fixes it."
)
@click.option(
    "--example",
    multiple=True,
    type=click.Path(readable=False, path_type=Path),
    help=".npz or .safetensors with one array per input, a case of its own; repeatable. Float inputs are drawn as it shows.",
)
@_inputs_from
@click.option(
    "--assets",
    type=click.Path(readable=False, path_type=Path),
    help="Folder with labels.json, image.json, text.json, tokenizer.json, ... in place of the model's own.",
)
@click.option("--graph", help="Export this one graph of a model that has several.")
@click.option(
    "--graphs", callback=_names, metavar="text,image", help="Of a saved model with two towers: a graph of each."
)
@click.option("--output-names", callback=_names, metavar="A,B", help="Names for the outputs, in order.")
@click.option("--opset", type=int, help="ONNX opset.  [default: 22, the newest whose attention every target takes]")
@click.option(
    "--exporter", default="dynamo", show_default=True, metavar="dynamo|torchscript", help="PyTorch's exporter to use."
)
@click.option("--pass", "passes", multiple=True, metavar="NAME", help="Run this pass too; repeatable.")
@click.option("--skip-pass", "skip", multiple=True, metavar="NAME", help="Leave this pass out; repeatable.")
@click.option("--atol", type=click.FloatRange(0), help="Absolute tolerance.  [default: the model's, 1e-6]")
@click.option(
    "--rtol", type=click.FloatRange(0), help="Tolerance relative to max|reference|.  [default: the model's, 2e-5]"
)
@click.option(
    "--sweep",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="Time for the sizes between the corners: all of them where that fits, else the likeliest; 0 leaves them out.  "
    "[default: 20]",
)
@click.option(
    "--mutate",
    default=0,
    type=click.IntRange(min=0),
    metavar="N",
    help="Change each graph in N ways, and store those of the cases drawn besides that notice what the golden cases do not.",
)
@click.option(
    "--stage-timeout",
    "stage_seconds",
    default=600.0,
    show_default=True,
    type=click.FloatRange(min=1),
    help="Seconds for a capture, and per risky stage.",
)
@click.option(
    "--with-attention",
    is_flag=False,
    flag_value=".*",
    metavar="[PATTERN]",
    help="Attention weights as further outputs, of the modules whose path has this regular expression (or glob); all "
    "when it is left out.",
)
@click.option(
    "--with-extend",
    "extend",
    is_flag=True,
    help="Of a model that writes: also a graph that reads several tokens at once, for generation with --lookup.",
)
@precision_options
@quantise_options
@click.option("--force", is_flag=True, help="Replace what is in the output's place even if it is no bundle.")
@click.option("--verbose", "-v", is_flag=True, help="Let the exporter's own logs and warnings through.")
@_source_options
def to_onnx(
    source: str,
    output: Path,
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    checkpoint: Path | None,
    with_attention: str | None,
    precisions: tuple[str, ...],
    quiet: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Export SOURCE and hold every form of the graph against PyTorch.

    SOURCE is a folder of a saved Hugging Face model or hf:ORG/NAME, timm:NAME or torchvision:NAME, a built-in model (see
    `attn-export models`), package.module:callable, or a .pt2 program.
    """
    from .. import Console, ExportOptions, export

    result = export(
        source, output, inputs=inputs, dims=dims, checkpoint=checkpoint, with_attention=with_attention,
        precision=chosen_scheme(precisions, options["half_io"], needed=False),
        options=ExportOptions(quantise=chosen_quantisation(options), **options), console=Console(quiet),
    )  # fmt: skip
    if as_json:
        print_json(result.to_json())


@cli.command("verify")
@click.argument("path", type=click.Path(readable=False, path_type=Path))
@click.argument("source", required=False)
@click.option("--backend", help="Backend to verify.  [default: the first that can run it]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", help="Which of the bundle's precisions.  [default: fp32 where there is one]")
@_inputs_from
@click.option("--graph", help="This graph alone; of a plain .onnx, which graph of SOURCE it is.  [default: all]")
@click.option(
    "--mutate",
    type=click.IntRange(min=1),
    metavar="N",
    help="Then change the graphs in N ways, drawn from --seed, and tell which of them the golden cases notice.",
)
@click.option(
    "--time-limit",
    type=float,
    metavar="SECONDS",
    help="End a replay that takes longer, with exit code 12; it runs in a process of its own.  [default: none]",
)
@_source_options
@verbose_option
def verify(path: Path, source: str | None, quiet: bool, verbose: bool, as_json: bool, **options: Any) -> None:
    """Replay the golden cases of the bundle PATH; with SOURCE, compare with PyTorch live on fresh inputs as well.

    A plain .onnx has no golden cases: name its SOURCE.
    """
    from .. import Console, verify

    result = verify(path, source, console=Console(quiet), **options)
    if as_json:
        print_json(result.to_json())
    elif result.replay is not None:
        print_passed_over(result.replay, verbose)


@cli.command()
@quiet_option
@json_option
@click.pass_context
def doctor(context: click.Context, quiet: bool, as_json: bool) -> None:
    """What this machine can run and build, what it can't and why, what to install. Exit code 10 when it runs nothing."""
    from .. import diagnose

    print_diagnosis(diagnose(), quiet, as_json, context)


cli.add_command(bench, "bench")
cli.add_command(convert_command)
cli.add_command(bisect_command)
cli.add_command(diff_command)
cli.add_command(to_trt)
cli.add_command(inspect_command)
cli.add_command(report_command)
cli.add_command(deploy)
cli.add_command(models)


def main() -> None:
    run_cli(lambda: cli, "attn-export", version=__version__)


if __name__ == "__main__":
    main()
