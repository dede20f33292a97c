"""attn-export reads options, calls one public function, prints: the command line is not the pipeline."""

from __future__ import annotations

from pathlib import Path

import attn_export
import click
import pytest
from attn_export.cli.app import cli
from support.checks import front_door

CLI = Path(attn_export.__file__).parent / "cli"
COMMANDS = front_door.commands(CLI)


def test_every_command_is_looked_at() -> None:
    names = {name.partition(":")[2].removesuffix("_command") for name in COMMANDS}
    assert names == {
        "to_onnx", "verify", "doctor", "convert", "bisect", "diff", "to_trt", "inspect", "report", "models", "jetson",
        "triton", "bundle_alone",
    }  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_short_and_calls_one_public_function(command: str) -> None:
    assert front_door.statements(COMMANDS[command]) <= front_door.MAX_STATEMENTS
    assert len(front_door.public_functions(COMMANDS[command], attn_export)) == 1


def test_nothing_goes_around_the_front_door() -> None:
    assert list(front_door.around_the_front_door(CLI, attn_export)) == []


def test_who_may_read_a_path_is_not_clicks_to_say() -> None:
    """Its answer has exit code 2; whoever opens the path tells of it with the code of what it is."""

    def paths(command: click.Command) -> list[click.Path]:
        own = [option.type for option in command.params if isinstance(option.type, click.Path)]
        return own + [path for one in getattr(command, "commands", {}).values() for path in paths(one)]

    found = paths(cli)
    assert len(found) > 10 and not any(path.readable or path.exists for path in found)
