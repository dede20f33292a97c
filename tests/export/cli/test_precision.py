"""The options of half precision: one way to ask for any scheme, and flags that are short for two of them."""

from __future__ import annotations

import click
import pytest
from attn_export.cli.precision import chosen_scheme, precision_options
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
