"""`attn-run setup`: what setup.sh of a deployed folder calls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .compile import size_in_bytes
from .options import json_option, print_json, quiet_option, say


@click.command("setup")
@click.argument("folder", type=click.Path(readable=False, path_type=Path))
@click.option(
    "--precision", "precisions", multiple=True, help="Which of the bundle's; repeatable.  [default: as deployed]"
)
@click.option(
    "--device", default="cuda", show_default=True, help="cuda: TensorRT; cpu: ONNX Runtime, nothing is built."
)
@click.option(
    "--weak-fp16",
    is_flag=True,
    help="Where the typed fp16 graph can't be built, let TensorRT choose the types of its layers, and say so.",
)
@click.option(
    "--workspace",
    callback=size_in_bytes,
    metavar="SIZE",
    help="Most scratch memory of an engine, as in 512MiB.  [default: by the board and what is free]",
)
@click.option("--builder-level", "level", type=click.IntRange(0, 5), help="How hard the builder looks, 0..5.")
@click.option("--rebuild", is_flag=True, help="Build anew what is there and fits.")
@click.option("--any-board", is_flag=True, help="Go on where the board is not the one the folder was made for.")
@click.option(
    "--bench-seconds", default=2.0, show_default=True, type=click.FloatRange(0), help="Measured per batch size."
)
@quiet_option
@json_option
def setup_command(folder: Path, quiet: bool, as_json: bool, **options: Any) -> None:
    """Check this board, build the engines, hold them against PyTorch's answers, time them; write report.json and report.html.

    FOLDER is one that attn-export deploy jetson made. Exit code 10: a check failed; else that of the first step that failed.
    """
    from .. import SetupOptions, set_up

    report = set_up(folder, SetupOptions(**options), (lambda line: None) if as_json or quiet else say)
    _print(report, quiet, as_json)


def _print(report: dict[str, Any], quiet: bool, as_json: bool) -> None:
    """How the setup ended, with the exit code of what failed."""
    from ..jetson import require, summary_line

    if as_json:
        print_json(report)
    elif not quiet:
        say(summary_line(report))
    require(report)
