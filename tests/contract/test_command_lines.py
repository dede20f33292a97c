"""Both command lines, walked: what every command takes."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from attn_export.cli.app import cli as attn_export
from attn_runtime.cli.app import cli as attn_run
from attn_runtime.cli.options import run_cli
from click.testing import CliRunner
from support.command_lines.json_answers import answer_of, described


def walked(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from walked(inner, (*path, name))
    else:
        yield path, command


COMMANDS = [
    pytest.param(program, path[1:], command, id=" ".join(path))
    for program, name in ((attn_run, "attn-run"), (attn_export, "attn-export"))
    for path, command in walked(program, (name,))
]
#: Those that choose a backend by themselves, and tell what they passed over.
CHOOSE = {
    "run",
    "verify",
    "bench",
    "classify",
    "detect",
    "transcribe",
    "generate",
    "translate",
    "attention",
    "embed",
    "tag",
    "fill",
    "answer",
}


def test_every_command_is_walked() -> None:
    assert len(COMMANDS) == 18 + 14


@pytest.mark.parametrize(("program", "path", "command"), COMMANDS)
def test_a_command_takes_help_quiet_and_json(
    program: click.Command, path: tuple[str, ...], command: click.Command
) -> None:
    shown = CliRunner().invoke(program, [*path, "--help"])
    assert shown.exit_code == 0 and command.help is not None
    options = {opt: option for option in command.params for opt in option.opts}
    for short, long in (("-q", "--quiet"), (None, "--json"), *([("-v", "--verbose")] if path[-1] in CHOOSE else [])):
        assert long in shown.output and (short is None or options[short] is options[long])
    assert options["--json"].is_eager, "a command of its own --json: take json_option, or its errors are none"


def test_the_schema_describes_the_result_of_every_command() -> None:
    """Tests of the commands hold what they print against it, by `result_of`."""
    assert set(described()) == {
        (program.name, " ".join(path)) for program, path, _ in (each.values for each in COMMANDS)
    }


@pytest.mark.parametrize(("program", "path", "command"), COMMANDS)
def test_a_usage_error_is_a_document_that_names_the_command(
    program: click.Command, path: tuple[str, ...], command: click.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_cli(lambda: program, str(program.name), [*path, "--json", "--no-such-option"])
    told = answer_of(capsys.readouterr().out)
    assert (ended.value.code, told["exit_code"], told["error"]["kind"], told["result"]) == (2, 2, "UsageError", None)
    assert (told["tool"], told["command"]) == (program.name, " ".join(path))
