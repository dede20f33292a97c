"""attn-export deploy: a bundle into what other machines and servers take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attn_runtime.cli.options import NearestGroup, json_option, print_json, quiet_option, say
from attn_runtime.escape import shell_words

if TYPE_CHECKING:
    from ..deploy import DeployedBundle
    from ..deploy.jetson import Deployed
    from ..deploy.triton import TritonModel


@click.group("deploy", cls=NearestGroup)
def deploy() -> None:
    """Make what another machine or server takes from a bundle."""


@deploy.command("bundle")
@click.argument("bundle", type=click.Path(readable=False, path_type=Path))
@click.option("--only", required=True, metavar="PRECISION", help="The one that it will have, as in int4-weights.")
@click.option("-o", "--output", required=True, type=click.Path(readable=False, path_type=Path), help="NAME.attn.")
@click.option("--tensorrt", is_flag=True, help="With the form of it that engines are built of.")
@click.option("--force", is_flag=True, help="Replace what is in the output's place whatever it is.")
@quiet_option
@json_option
def bundle_alone(bundle: Path, output: Path, quiet: bool, as_json: bool, **options: Any) -> None:
    """Make a bundle of one precision of BUNDLE, with all that proves it and without the weights of the others.

    It opens in that precision where none is named. Engines are not taken along; attn-run compile makes them.
    """
    from .. import deploy_bundle

    made = deploy_bundle(bundle, output, **options)
    if as_json:
        print_json(made.to_json())
    elif not quiet:
        _print_bundle(made)


def _print_bundle(made: DeployedBundle) -> None:
    from attn_runtime.text_format import bytes_text

    left = f", without {', '.join(made.left_out)}" if made.left_out else ""
    say(
        f"{made.path}: {', '.join(made.precisions)}{left}; {made.files} files, {bytes_text(made.size)} of "
        f"{bytes_text(made.size_before)}"
    )
    say(f"verify it: {shell_words('attn-run', 'verify', str(made.path))}")


@deploy.command("jetson")
@click.argument("bundle", type=click.Path(readable=False, path_type=Path))
@click.option("--board", required=True, metavar="orin-nano|orin-nx|agx-orin|thor", help="What it will run on.")
@click.option("--jetpack", metavar="VERSION", help="As in 6.2.  [default: 6.2 on Orin, 7.1 on Thor]")
@click.option(
    "-o", "--output", required=True, type=click.Path(readable=False, path_type=Path), help="A folder, or FILE.tar.gz."
)
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
@quiet_option
@json_option
def jetson(bundle: Path, output: Path, quiet: bool, as_json: bool, **options: Any) -> None:
    """Make a folder that sets itself up on a Jetson: ./setup.sh checks the board, builds the engines, verifies and times them.

    What the board can't do is refused with the reason: docs/use/jetson.md has the table.
    """
    from .. import JetsonOptions, deploy_jetson

    made = deploy_jetson(bundle, output, JetsonOptions(**options))
    if as_json:
        print_json(made.to_json())
    elif not quiet:
        _print_folder(made)


def _print_folder(made: Deployed) -> None:
    from attn_runtime.text_format import bytes_text

    release = made.release
    say(
        f"{made.path}: {made.files} files, {bytes_text(made.size)}, for {made.board.title} with JetPack {release.version}"
    )
    say(f"to build: {', '.join(made.precisions)}, with TensorRT {release.tensorrt}")
    for note in made.notes:
        say(f"note: {note}", err=True)
    say("copy it to the board and run ./setup.sh there")


@deploy.command("triton")
@click.argument("bundle", type=click.Path(readable=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(readable=False, path_type=Path),
    help="The model repository; made if needed.",
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
    "--engine-cache",
    "cache",
    metavar="DIR",
    help="Folder on the server for the accelerator's engines, or for a generator's graphs as they are optimised for a CPU.",
)
@click.option("--no-warm-up", is_flag=True, help="Leave the golden inputs out.")
@click.option(
    "--force", is_flag=True, help="Replace a model of that name which attn-export did not write, or which was changed."
)
@quiet_option
@json_option
def triton(bundle: Path, output: Path, quiet: bool, as_json: bool, no_warm_up: bool, **chosen: Any) -> None:
    """Write BUNDLE as a model of a Triton inference server.

    A graph is served by ONNX Runtime or TensorRT, a generator by the Python backend, which streams its answers.
    """
    from .. import TritonOptions, deploy_triton

    models = deploy_triton(bundle, output, TritonOptions(warm_up=not no_warm_up, **chosen))
    if as_json:
        print_json({"models": [model.to_json() for model in models]})
    elif not quiet:
        _print_models(models, output)


def _print_models(models: Sequence[TritonModel], repository: Path) -> None:
    for model in models:
        batch = f"batches up to {model.most}" if model.most else "no batching"
        say(f"{model.path}: {model.backend}, precision {model.precision}, {batch}, {model.warm_ups} warm-up requests")
        for note in model.notes:
            say(f"note: {note}", err=True)
    say(f"serve it: {shell_words('tritonserver', f'--model-repository={repository}')}")
