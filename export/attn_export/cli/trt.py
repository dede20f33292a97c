"""`attn-export to-trt`: make the precision if need be, and build the engine that a GPU runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from attn_runtime.cli import BuildPrinter, build_options
from attn_runtime.errors import UsageError

from .precision import chosen_quantisation, input_options, quantise_options


@click.command("to-trt")
@click.argument("path", metavar="BUNDLE|MODEL.onnx", type=click.Path(readable=False, path_type=Path))
@click.option("--fp16", "kinds", flag_value="fp16", multiple=True, help="Compute in float16.")
@click.option("--bf16", "kinds", flag_value="bf16", multiple=True, help="Compute in bfloat16.")
@click.option(
    "--fp32", "kinds", flag_value="fp32", multiple=True, help="Compute in float32.  [default: the file's own]"
)
@click.option("--precision", "kinds", multiple=True, metavar="NAME", help="The same for any precision by its name.")
@click.option("--half-io", is_flag=True, help="With --fp16: float16 inputs and outputs too.")
@click.option("--skip-pass", "skip", multiple=True, metavar="attention", help="Leave the attention as it is written.")
@quantise_options
@input_options
@build_options
def to_trt(path: Path, kinds: tuple[str, ...], quiet: bool, as_json: bool, **options: Any) -> None:
    """Build a TensorRT engine for this machine, and hold it against what was asked for.

    A precision that the bundle lacks is made first and held against PyTorch's recorded answers. Without --fp16, --bf16
    or --fp32 nothing is converted: a bundle's fp32 graph is built, a plain file as its types are. `attn-run compile` is
    the same build on a device without torch and onnx.
    """
    if len(set(kinds)) > 1:
        raise UsageError(f"got --{' and --'.join(dict.fromkeys(kinds))}; give one of them")
    from .. import Console, to_trt

    console = Console(quiet or as_json)
    with BuildPrinter(quiet, as_json) as printer:
        report = to_trt(
            path, kinds[0] if kinds else None, console=console, on_progress=printer.progress, on_build=printer.built,
            quantise=chosen_quantisation(options), **options,
        )  # fmt: skip
    printer.end(report)
