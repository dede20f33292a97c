"""attn-export deploy triton: a bundle into a Triton model repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from attn_runtime.cli.options import print_json


@click.command("triton")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="The model repository; made if needed."
)
@click.option("--name", help="The model's name.  [default: the bundle's]")
@click.option("--version", default=1, show_default=True, help="The model's version; others that are there stay.")
@click.option("--graph", help="This graph alone.  [default: the generator, or every graph]")
@click.option("--precision", help="Which of the bundle's precisions.  [default: fp32 where there is one]")
@click.option(
    "--format",
    "format",
    default="onnx",
    show_default=True,
    metavar="onnx|tensorrt",
    help="The graph, or the engines that the bundle has for a server.",
)
@click.option("--device", default="auto", show_default=True, metavar="auto|cpu|gpu", help="Where its instances run.")
@click.option("--instances", default=1, show_default=True, help="How many, on each GPU.")
@click.option(
    "--max-queue-delay",
    "delay_us",
    default=0,
    show_default=True,
    metavar="MICROSECONDS",
    help="How long a request may wait for others to be put together with.",
)
@click.option(
    "--accelerator",
    default="auto",
    show_default=True,
    metavar="auto|none|tensorrt",
    help="TensorRT inside ONNX Runtime; auto takes it for fp16 graphs on a GPU.",
)
@click.option(
    "--engine-cache", "cache", metavar="DIR", help="Folder on the server where the accelerator keeps its engines."
)
@click.option("--no-warm-up", is_flag=True, help="Leave the golden inputs out.")
@click.option(
    "--force", is_flag=True, help="Replace a model of that name which attn-export did not write, or which was changed."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def triton(bundle: Path, output: Path, as_json: bool, no_warm_up: bool, **chosen: Any) -> None:
    """Write BUNDLE as a model of a Triton inference server.

    A graph is served by ONNX Runtime or TensorRT, a generator by the Python backend, which streams its answers.
    """
    from ..deploy.triton.repository_maker import TritonOptions, deploy_triton

    models = deploy_triton(bundle, output, TritonOptions(warm_up=not no_warm_up, **chosen))
    if as_json:
        print_json({"models": [model.to_json() for model in models]})
        return
    for model in models:
        batch = f"batches up to {model.most}" if model.most else "no batching"
        click.echo(f"{model.path}: {model.backend}, {batch}, {model.warm_ups} warm-up requests")
        for note in model.notes:
            click.echo(f"note: {note}", err=True)
    click.echo(f"serve it: tritonserver --model-repository={output}")
