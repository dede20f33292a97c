"""What a shell gets that asks for completions: through the program itself, as the shell asks."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def complete(*words: str) -> list[str]:
    """The completions of the last word."""
    asked = {"COMP_WORDS": " ".join(["attn-export", *words]), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        [sys.executable, "-m", "attn_export"], capture_output=True, text=True,
        env={**os.environ, "_ATTN_EXPORT_COMPLETE": "bash_complete", **asked},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_and_options_are_completed() -> None:
    assert complete("ver") == ["verify"]
    assert complete("verify", "--dev") == ["--device"]


def test_a_misspelt_command_has_no_completions_and_is_no_error() -> None:
    assert "verify" not in complete("vrfy", "--x")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_for_a_shell(shell: str) -> None:
    asked = {**os.environ, "_ATTN_EXPORT_COMPLETE": f"{shell}_source"}
    done = subprocess.run([sys.executable, "-m", "attn_export"], capture_output=True, text=True, env=asked)
    assert done.returncode == 0 and "_ATTN_EXPORT_COMPLETE" in done.stdout


def test_help_tells_how_to_have_them() -> None:
    done = subprocess.run([sys.executable, "-m", "attn_export", "--help"], capture_output=True, text=True)
    assert 'eval "$(_ATTN_EXPORT_COMPLETE=bash_source attn-export)"' in done.stdout
