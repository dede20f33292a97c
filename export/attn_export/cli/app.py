"""The command line `attn-export`: each command maps its options to one public call.

Nothing here imports torch before a command runs, so that --help answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from attn_runtime.cli.app import bench, doctor_command
from attn_runtime.cli.options import NearestGroup, print_json, run_cli
from attn_runtime.errors import UsageError

from .. import __version__
from .deploy import deploy
from .inspect import inspect_command
from .models import models
from .precision import Half, bisect_command, chosen_scheme, convert_command, precision_options
from .trt import to_trt


@click.group(cls=NearestGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="attn-export")
def cli() -> None:
    """Export PyTorch attention models to ONNX bundles that carry their own proof."""


def _source_options(command: Any) -> Any:
    for option in reversed(
        [
            click.option(
                "--checkpoint", type=click.Path(path_type=Path), help="Weights: safetensors or a torch state_dict."
            ),
            click.option("--config", multiple=True, metavar="KEY=VALUE", help="Argument for the callable; repeatable."),
            click.option(
                "--seed", default=0, show_default=True, help="Seed of random weights and of the drawn inputs."
            ),
            click.option("--quiet", "-q", is_flag=True, help="Print errors only."),
            click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout."),
        ]
    ):
        command = option(command)
    return command


@cli.command("to-onnx")
@click.argument("source")
@click.option(
    "-o", "--output", required=True, type=click.Path(path_type=Path), help="NAME.attn (a bundle) or NAME.onnx."
)
@click.option("--input", "inputs", multiple=True, metavar="SPEC", help="'image:float32[batch,3,32,32]'; repeatable.")
@click.option(
    "--dim", "dims", multiple=True, metavar="NAME=MIN:OPT:MAX", help="Range of a named dim; a bare number fixes it."
)
@click.option("--example", type=click.Path(path_type=Path), help=".npz or .safetensors with one array per input.")
@click.option(
    "--assets", type=click.Path(path_type=Path), help="Folder with labels.json, image.json in place of the model's own."
)
@click.option("--graph", help="Export this one graph of a model that has several.")
@click.option("--output-names", metavar="A,B", help="Names for the outputs, in order.")
@click.option("--opset", type=int, help="ONNX opset.  [default: 22, the newest whose attention every target takes]")
@click.option(
    "--exporter", default="dynamo", show_default=True, metavar="dynamo|torchscript", help="PyTorch's exporter to use."
)
@click.option("--pass", "passes", multiple=True, metavar="NAME", help="Run this pass too; repeatable.")
@click.option("--skip-pass", multiple=True, metavar="NAME", help="Leave this pass out; repeatable.")
@click.option("--atol", type=click.FloatRange(0), help="Absolute tolerance.  [default: the model's, 1e-6]")
@click.option(
    "--rtol", type=click.FloatRange(0), help="Tolerance relative to max|reference|.  [default: the model's, 2e-5]"
)
@click.option(
    "--stage-timeout", default=600.0, show_default=True, type=click.FloatRange(min=1), help="Seconds per risky stage."
)
@click.option(
    "--with-attention",
    is_flag=False,
    flag_value=".*",
    metavar="[PATTERN]",
    help="Attention weights as further outputs, of the modules whose path has this regular expression (or glob); all "
    "when it is left out.",
)
@precision_options
@click.option("--force", is_flag=True, help="Replace what is in the output's place even if it is no bundle.")
@click.option("--verbose", is_flag=True, help="Let the exporter's own logs and warnings through.")
@_source_options
def to_onnx(
    source: str,
    output: Path,
    inputs: tuple[str, ...],
    dims: tuple[str, ...],
    example: Path | None,
    assets: Path | None,
    graph: str | None,
    output_names: str | None,
    opset: int | None,
    exporter: str,
    passes: tuple[str, ...],
    skip_pass: tuple[str, ...],
    atol: float | None,
    rtol: float | None,
    stage_timeout: float,
    with_attention: str | None,
    precisions: tuple[str, ...],
    half_io: bool,
    force: bool,
    verbose: bool,
    checkpoint: Path | None,
    config: tuple[str, ...],
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Export SOURCE and hold every form of the graph against PyTorch.

    SOURCE is a built-in model (see `attn-export models`), package.module:callable, or a .pt2 program.
    """
    from attn_runtime.bundle.writer import check_target

    from ..console import Console

    chosen = chosen_scheme(precisions, half_io, needed=False)
    half = Half(chosen, half_io, skip_pass) if chosen else None
    if half:
        half.check(output)
    check_target(output, force)  # before the seconds that importing torch takes
    console = Console(quiet)
    with console.stage("load") as line:
        from ..pipeline.pipeline import ExportOptions, export
        from ..source.resolve import load_source

        loaded = load_source(
            source, inputs=inputs, dims=dims, example=example, checkpoint=checkpoint, config=config, seed=seed, graph=graph,
            asset_folder=assets,
        )  # fmt: skip
        line.done(f"{loaded.name}, {loaded.parameters / 1e6:.2f} M parameters{f', {checkpoint}' if checkpoint else ''}")
    for note in loaded.notes:
        console.note(note)
    if with_attention is not None:
        from ..attention_outputs.add import add_attention

        with console.stage("attention") as line:
            loaded, found = add_attention(loaded, with_attention, seed)
            line.done(found.line)
        for note in found.notes:
            console.note(note)
    options = ExportOptions(
        opset=opset,
        exporter=exporter,
        output_names=tuple(n.strip() for n in output_names.split(",")) if output_names else (),
        passes=passes,
        skip=half.others if half else skip_pass,
        atol=atol,
        rtol=rtol,
        seed=seed,
        stage_seconds=stage_timeout,
        force=force,
        verbose=verbose,
    )
    done = export(loaded, output, options, console)
    made = half.add(output, console, stage_timeout) if half else {}
    if as_json:
        print_json(done.to_json(output) | made)


@cli.command("verify")
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("source", required=False)
@click.option("--backend", help="Backend to verify.  [default: the first that can run it]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--precision", help="Which of the bundle's precisions.  [default: fp32 where there is one]")
@click.option("--graph", help="This graph alone; of a plain .onnx, which graph of SOURCE it is.  [default: all]")
@_source_options
def verify(
    path: Path,
    source: str | None,
    backend: str | None,
    device: str,
    precision: str | None,
    graph: str | None,
    checkpoint: Path | None,
    config: tuple[str, ...],
    seed: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Replay the golden cases of the bundle PATH; with SOURCE, compare with PyTorch live on fresh inputs as well.

    A plain .onnx has no golden cases: name its SOURCE.
    """
    from attn_runtime.tasks.verification import verify as replay

    from ..console import Console

    if source is None and (checkpoint or config):
        raise UsageError("--checkpoint and --config belong to a SOURCE; name it after the path")
    console = Console(quiet)
    result: dict[str, Any] = {}
    if source is None or path.is_dir():
        with console.stage("replay") as line:
            report = replay(path, backend=backend, device=device, precision=precision, graph=graph)
            worst = max(d.relative_error for c in report.cases for d in c.differences)
            rows = [r for r in report.generation if r.row is not None]
            written = f", {sum(r.same for r in rows)} of {len(rows)} generated answers PyTorch's" if rows else ""
            line.done(
                f"{len(report.cases)} golden cases, worst error {worst:.1e} of max|reference|{written}; {report.choice}"
            )
        result["replay"] = report.to_json()
    if source is not None:
        with console.stage("live") as line:
            from ..parity.against_module import verify_against

            checks = verify_against(
                path,
                source,
                checkpoint=checkpoint,
                config=config,
                backend=backend,
                device=device,
                precision=precision,
                graph=graph,
                seed=seed + 1,
            )
            worst = max(c.difference.relative_error for c in checks)
            line.done(f"{len(checks)} comparisons with PyTorch, worst error {worst:.1e} of max|reference|")
        result["live"] = [c.to_json() for c in checks]
    if as_json:
        print_json(result)


def _diagnose() -> Any:
    from ..doctor import diagnose_export

    return diagnose_export()


cli.add_command(bench, "bench")
cli.add_command(convert_command)
cli.add_command(bisect_command)
cli.add_command(doctor_command(_diagnose))
cli.add_command(to_trt)
cli.add_command(inspect_command)
cli.add_command(deploy)
cli.add_command(models)


def main() -> None:
    run_cli(cli, "attn-export")


if __name__ == "__main__":
    main()
