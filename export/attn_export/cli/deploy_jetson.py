"""attn-export deploy jetson: a bundle into a folder that sets itself up on a board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from attn_runtime.cli.options import print_json


@click.command("jetson")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("--board", required=True, metavar="orin-nano|orin-nx|agx-orin|thor", help="What it will run on.")
@click.option("--jetpack", metavar="VERSION", help="As in 6.2.  [default: 6.2 on Orin, 7.1 on Thor]")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="A folder, or FILE.tar.gz.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    help="Build this one of the bundle's; repeatable.  [default: fp16, bf16 or fp32, the first that is there]",
)
@click.option("--engine", default="tensorrt", show_default=True, metavar="tensorrt", help="What compiles and runs it.")
@click.option("--accelerator", default="gpu", show_default=True, metavar="gpu", help="What it runs on.")
@click.option(
    "--wheels", is_flag=True, help="Fetch what attn-runtime needs, for the board's Python (from PyPI, about 60 MB)."
)
@click.option("--cpp", default="auto", show_default=True, metavar="auto|yes|no", help="The C++ library, cross-built.")
@click.option("--force", is_flag=True, help="Replace what is in the output's place whatever it is.")
@click.option("--quiet", "-q", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def jetson(bundle: Path, output: Path, quiet: bool, as_json: bool, **options: Any) -> None:
    """Make a folder that sets itself up on a Jetson: ./setup.sh checks the board, builds the engines, verifies and times them.

    What the board can't do is refused with the reason: docs/use/jetson.md has the table.
    """
    from attn_runtime.text_format import bytes_text

    from ..deploy.jetson.folder_maker import JetsonOptions, deploy_jetson

    done = deploy_jetson(bundle, output, JetsonOptions(**options))
    if as_json:
        print_json({
            "output": str(done.path), "board": done.board.name, "jetpack": done.release.version, "files": done.files,
            "bytes": done.size, "precisions": list(done.precisions), "notes": list(done.notes),
        })  # fmt: skip
        return
    if quiet:
        return
    click.echo(
        f"{done.path}: {done.files} files, {bytes_text(done.size)}, for {done.board.title} with JetPack {done.release.version}"
    )
    click.echo(f"to build: {', '.join(done.precisions)}, with TensorRT {done.release.tensorrt}")
    for note in done.notes:
        click.echo(f"note: {note}", err=True)
    click.echo("copy it to the board and run ./setup.sh there")
