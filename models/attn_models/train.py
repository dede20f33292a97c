"""python -m attn_models.train NAME: train a reference model and write runs/NAME/model.safetensors."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click
from attn_runtime.cli.options import say
from attn_runtime.errors import AttnError
from attn_runtime.ort import limit_openmp

from . import registry


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Output folder; default runs/NAME.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data; default: the model's recipe.")
@click.option("--batch-size", type=click.IntRange(1), help="Samples a step, over all processes together.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Highest learning rate; default: the recipe's.")
@click.option("--patience", type=click.IntRange(1), help="End after N epochs without a lower validation loss.")
@click.option("--class-weights", type=click.Choice(["balanced", "none"]), help="balanced: rare classes count as much.")
@click.option("--positive", metavar="CLASS", help="Of two classes, the one that sensitivity is of; default: the last.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto: bf16 on a GPU that has it, else fp32.",
)
@click.option(
    "--accumulate", type=click.IntRange(1), default=1, help="Work through each batch in N parts; saves memory."
)
@click.option("--fsdp", is_flag=True, help="Under torchrun: split parameters and optimiser over the processes.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of images, a subfolder for each class.")
@click.option("--size", type=click.IntRange(1), help="Side that the images of --data are resized to.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="Grey or RGB; default: as the images of --data are.")
@click.option("--limit", type=click.IntRange(1), help="The first N samples of each split only: a quick trial.")
@click.option("--resume", is_flag=True, help="Go on after the last finished epoch of an interrupted training.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def main(name: str, out: Path | None, channels: str | None, quiet: bool, **settings: Any) -> None:
    """Train the reference model NAME."""
    limit_openmp()
    leads = os.environ.get("RANK", "0") == "0"
    out = out or Path("runs") / name
    try:
        spec = registry.get(name)
        from .training import (
            loop,
            malloc,  # only now: --help and a misspelt name need no torch
        )

        malloc.keep_freed_memory()

        options = loop.TrainOptions(out, channels=int(channels) if channels else None, quiet=quiet, **settings)
        metrics = loop.train(spec, options)
    except AttnError as error:
        if leads:
            say(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if leads:
            say("interrupted; --resume goes on after the last finished epoch", err=True)
        sys.exit(130)
    if leads and not quiet:
        say(*metrics.in_words())
        say(f"{out / loop.WEIGHTS}")
        if options.data is not None:
            from .data import export_command

            say(f"to export it: {export_command(spec, out)}")


if __name__ == "__main__":
    main()
