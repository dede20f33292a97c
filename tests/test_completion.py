"""What a shell gets that asks for completions: through the programs themselves, as the shell asks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAMS = {"attn-run": ("attn_runtime", "_ATTN_RUN_COMPLETE"), "attn-export": ("attn_export", "_ATTN_EXPORT_COMPLETE")}
each = pytest.mark.parametrize("program", PROGRAMS)


def run(program: str, *arguments: str, **environment: str) -> str:
    package, _ = PROGRAMS[program]
    done = subprocess.run(
        [sys.executable, "-m", package, *arguments], capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def complete(program: str, *words: str) -> list[str]:
    """The completions of the last word."""
    asked = {
        PROGRAMS[program][1]: "bash_complete",
        "COMP_WORDS": " ".join([program, *words]),
        "COMP_CWORD": str(len(words)),
    }
    return [line.partition(",")[2] for line in run(program, **asked).splitlines()]


@each
def test_commands_and_options_are_completed(program: str) -> None:
    assert complete(program, "ver") == ["verify"]
    assert complete(program, "verify", "--dev") == ["--device"]


@each
def test_a_misspelt_command_has_no_completions_and_is_no_error(program: str) -> None:
    assert "verify" not in complete(program, "vrfy", "--x")


@each
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_for_a_shell(program: str, shell: str) -> None:
    variable = PROGRAMS[program][1]
    assert variable in run(program, **{variable: f"{shell}_source"})


@each
def test_help_tells_how_to_have_them(program: str) -> None:
    assert f'eval "$({PROGRAMS[program][1]}=bash_source {program})"' in run(program, "--help")
