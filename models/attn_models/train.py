"""python -m attn_models.train NAME: train a reference model and write runs/NAME/model.safetensors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from attn_runtime.errors import AttnError

from . import registry


@click.command()
@click.argument("name")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Output folder; default runs/NAME.")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data; default: the model's recipe.")
@click.option("--batch-size", type=click.IntRange(1), help="Samples a step, over all processes together.")
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--limit", type=click.IntRange(1), help="Train on the first N samples only: a quick trial.")
@click.option("--resume", is_flag=True, help="Go on after the last finished epoch of an interrupted training.")
@click.option("--quiet", is_flag=True, help="Print nothing but errors.")
def main(
    name: str,
    out: Path | None,
    epochs: int | None,
    batch_size: int | None,
    seed: int,
    device: str,
    limit: int | None,
    resume: bool,
    quiet: bool,
) -> None:
    """Train the reference model NAME."""
    leads = os.environ.get("RANK", "0") == "0"
    out = out or Path("runs") / name
    try:
        spec = registry.get(name)
        from . import loop  # only now: --help and a misspelt name need no torch

        options = loop.Options(out, epochs, batch_size, seed, device, limit, resume, quiet)
        metrics = loop.train(spec, options)
    except AttnError as error:
        if leads:
            click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if leads:
            click.echo("interrupted; --resume goes on after the last finished epoch", err=True)
        sys.exit(130)
    if leads and not quiet:
        gates = "".join(f", {gate} {value:.3f}" for gate, value in metrics.gates.items())
        click.echo(
            f"test accuracy {100 * metrics.accuracy:.2f} % of {metrics.test_samples} images{gates}, "
            f"{metrics.seconds:.0f} s"
        )
        click.echo(f"{out / loop.WEIGHTS}")


if __name__ == "__main__":
    main()
