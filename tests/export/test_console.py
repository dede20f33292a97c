"""What a long run says, and where to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest
from attn_export.console import Console, Line


def test_without_a_stderr_nothing_goes_to_stdout(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    console = Console()
    with console.stage("load") as line:
        line.done("a module")
    console.note("a remark")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("total", "steps", "told"),
    [
        (100, range(1, 101), ["25 of 100", "50 of 100", "75 of 100"]),
        (512, (1, 3, 7, 15, 400, 512), ["400 of 512"]),
        (2, (1, 2), ["1 of 2"]),
        (1, (1,), []),
        (None, range(1, 300), ["64 so far", "128 so far", "256 so far"]),
    ],
)
def test_in_a_pipe_progress_is_a_few_plain_lines(
    total: int | None, steps: Sequence[int], told: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with Console().about("text: ").stage("calibrate") as line:
        for done in steps:
            line.progress(done, total)
        line.done("all")
    *lines, last = capsys.readouterr().err.splitlines()
    assert lines == [f"calibrate  text: {one}" for one in told]
    assert last.startswith("calibrate  text: all ")


def test_on_a_terminal_the_spinner_tells_each_step() -> None:
    told: list[str] = []
    line = Line(told.append, always=True)
    line.progress(1, 3)
    line.progress(2, 3)
    line.progress(3, 3)
    assert told == ["1 of 3", "2 of 3", "3 of 3"]


def test_a_stage_that_is_dropped_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Console().stage("rotary") as line:
        line.done("nothing is turned")
        line.drop()
    assert capsys.readouterr() == ("", "")


def test_quiet_tells_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with Console(quiet=True).stage("calibrate") as line:
        line.progress(1, 2)
    assert capsys.readouterr() == ("", "")


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
