"""What a long run says, and where to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from attn_export.console import Console


def test_without_a_stderr_nothing_goes_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    console = Console()
    with console.stage("load") as line:
        line.done("a module")
    console.note("a remark")
    assert capsys.readouterr().out == ""


PROGRAM = """
import click
from attn_runtime.cli.options import run_cli

@click.command()
def program():
    from rich.console import Console
    Console().print("a table")

run_cli(lambda: program, "program")
"""


def test_a_table_that_nobody_reads_ends_as_any_other_text() -> None:
    """rich would end the process with 1."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")
