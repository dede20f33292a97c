"""attn-run reads options, calls one public function, prints: no command is a program of its own."""

from __future__ import annotations

import ast
from pathlib import Path

import attn_runtime
import pytest
from attn_runtime.cli.app import cli
from support.checks import front_door

CLI = Path(attn_runtime.__file__).parent / "cli"
COMMANDS = front_door.commands(CLI)


def test_every_command_is_looked_at() -> None:
    names = {name.partition(":")[2].removesuffix("_command") for name in COMMANDS}
    assert names == {
        "info", "run", "verify", "bench", "doctor", "compile", "classify", "detect", "generate", "translate", "transcribe",
        "attention", "setup", "embed", "tag", "fill", "answer", "map",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_short_and_calls_one_public_function(command: str) -> None:
    assert front_door.statements(COMMANDS[command]) <= front_door.MAX_STATEMENTS
    assert len(front_door.public_functions(COMMANDS[command], attn_runtime)) == 1


def test_every_command_that_takes_a_backend_takes_a_cache() -> None:
    options = {name: {option.name for option in command.params} for name, command in cli.commands.items()}
    opens = {name for name, names in options.items() if {"backend", "device"} <= names}
    assert {"run", "verify", "bench", "generate", "translate", "transcribe", "embed", "attention"} <= opens
    assert [name for name in opens if "cache" not in options[name]] == []


def test_nothing_goes_around_the_front_door() -> None:
    assert list(front_door.around_the_front_door(CLI, attn_runtime)) == []


def test_the_reader_of_commands_reads_them(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text(
        "@click.command('a')\n@click.option('--b')\ndef a(b):\n    'Text.'\n    from .. import verify, UsageError\n"
        "    from ..tasks.info import describe\n    if b:\n        verify(b)\n"
    )
    (function,) = front_door.commands(tmp_path).values()
    assert isinstance(function, ast.FunctionDef) and front_door.statements(function) == 4
    assert front_door.public_functions(function, attn_runtime) == {"verify"}
    assert list(front_door.around_the_front_door(tmp_path, attn_runtime)) == ["a.py:6 imports describe of tasks.info"]
