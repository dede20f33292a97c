"""The options of half precision: one way to ask for any scheme, and flags that are short for two of them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from attn_export.cli.app import cli
from attn_export.cli.precision import chosen_scheme, precision_options
from attn_runtime.bundle.reader import Bundle
from attn_runtime.errors import UsageError
from click.testing import CliRunner


@click.command()
@precision_options
def command(precisions: tuple[str, ...], half_io: bool) -> None:
    click.echo(str(chosen_scheme(precisions, half_io, needed=False)))


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "None"), (["--fp16"], "fp16"), (["--bf16"], "bf16"), (["--precision", "bf16"], "bf16"),
        (["--fp16", "--precision", "fp16"], "fp16"), (["--precision", "fp16", "--half-io"], "fp16"),
    ],
)  # fmt: skip
def test_a_flag_is_short_for_precision(arguments: list[str], name: str) -> None:
    assert CliRunner().invoke(command, arguments, catch_exceptions=False).output == f"{name}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--bf16", "--precision", "fp16"], "--bf16 and --fp16: one of them at a time"),
        (["--precision", "fp61"], "did you mean fp16[?] available: bf16, fp16"),
        (["--precision", "bf16", "--half-io"], "--half-io with --bf16: numpy has no bfloat16"),
        (["--half-io"], "--half-io: to which precision[?]"),
    ],
)
def test_mistakes_are_found_before_anything_runs(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        CliRunner().invoke(command, arguments, catch_exceptions=False)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--calibrate", "x.npz"], "--calibrate: to which precision[?]"),
        (["--precision", "fp16", "--max-size", "3"], "--max-size is for a precision that quantises"),
        (["--precision", "int8", "--block-size", "32"], "--block-size 32: int8 has one scale per channel"),
        (["--precision", "int8", "--half-io"], "--half-io with --precision int8: .* inputs and outputs stay float32"),
    ],
)
def test_an_export_refuses_choices_before_its_source_is_looked_for(
    arguments: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        CliRunner().invoke(
            cli, ["to-onnx", "nothing:here", "-o", str(tmp_path / "x.attn"), *arguments], catch_exceptions=False
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("quickly")
def test_an_export_passes_choices_on(tmp_path: Path) -> None:
    arguments = ["--input", "x:float32[batch,T,64]", "--dim", "batch=2", "--dim", "T=8", "--sweep", "0", "-q"]
    chosen = ["--precision", "int8-weights", "--leave", "head", "--skip-pass", "attention"]
    target = tmp_path / "x.attn"
    done = CliRunner().invoke(
        cli,
        ["to-onnx", "support.quantised.small_net:Net", "-o", str(target), *arguments, *chosen],
        catch_exceptions=False,
    )
    assert done.exit_code == 0, done.output
    (entry,) = Bundle.open(target).manifest["graphs"].values()
    left = {row["module"]: row["reason"] for row in entry["precisions"]["int8-weights"]["quantised"]["left"]}
    assert left["head"] == "asked for with --leave"
