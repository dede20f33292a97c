"""Standard streams as a shell, a service manager or a pipe hands them over: never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="POSIX shells and /dev/full")

PROGRAM = r"""
import os, sys
import click
from attn_runtime.cli.options import json_option, print_json, run_cli
from attn_runtime.errors import InputError
from attn_runtime.files import bytes_or_path

@click.command()
@click.argument("text", default="Zo\u00eb \u65e5\udcff")
@click.option("--fail", is_flag=True)
@click.option("--file")
@click.option("--read")
@json_option
def program(text, fail, file, read, as_json):
    click.echo("note: begun", err=True)
    if read:
        bytes_or_path(read, "texts")
    if file:
        with open(file, "w"):
            os.write(1, b"from a library")
            os.write(2, b"from a library")
    if fail:
        raise InputError(f"{text} is no input; give another")
    print_json({"text": text}) if as_json else click.echo(text)

run_cli(lambda: program, "program")
"""


def shell(arguments: str, **environment: str) -> tuple[int, bytes, bytes]:
    """(exit code, stdout, stderr) of the program with these arguments and redirections."""
    command = ["sh", "-c", f'"$0" -c "$1" {arguments}', sys.executable, PROGRAM]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment})
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("mode", ["", "--json"])
@pytest.mark.parametrize("closed", [">&-", "<&- >&-", "<&- >&- 2>&-"])
def test_a_closed_stdout_is_nothing_to_write_to(closed: str, mode: str) -> None:
    code, out, err = shell(f"{mode} {closed}")
    assert (code, out, err) == (0, b"", b"" if "2>&-" in closed else b"note: begun\n")


def test_what_is_closed_is_no_file_that_is_opened_later(tmp_path: Path) -> None:
    assert shell(f"--file {tmp_path}/model.bin <&- >&- 2>&-")[0] == 0
    assert (tmp_path / "model.bin").read_bytes() == b""


@pytest.mark.parametrize("name", ["-", "/dev/stdin"])
def test_a_closed_stdin_is_told_as_closed(name: str) -> None:
    code, _, err = shell(f"--read {name} <&-")
    assert (code, err) == (
        7, b"note: begun\nerror: texts: stdin is closed; pipe a file into it, or name the file\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("redirected", "unbuffered", "says"),
    [
        (">/dev/full", "", b"No space left on device"),
        (">/dev/full", "1", b"No space left on device"),
        ("1</dev/null", "", b"Bad file descriptor"),
    ],
)
def test_a_stdout_that_takes_nothing_is_one_line(redirected: str, unbuffered: str, says: bytes) -> None:
    for mode in ("", "--json"):
        code, _, err = shell(f"{mode} {redirected}", PYTHONUNBUFFERED=unbuffered)
        assert (code, err) == (11, b"note: begun\nerror: can't write to stdout: " + says + b"\n")


def test_the_first_error_is_the_one_that_is_told() -> None:
    code, _, err = shell("x --fail --json >/dev/full")
    assert (code, err) == (7, b"note: begun\nerror: x is no input; give another\n")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_without_a_stderr_the_exit_code_tells(redirected: str) -> None:
    assert shell(f"x {redirected}") == (0, b"x\n", b"")
    assert shell(f"x --fail {redirected}") == (7, b"", b"")
    code, out, _ = shell(f"x --fail --json {redirected}")
    assert code == 7 and json.loads(out)["error"]["found"] == "x is no input"


def test_a_reader_that_went_away_is_told_by_the_exit_code() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", PROGRAM], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"note: begun\n")


@pytest.mark.parametrize(
    ("encoding", "written"),
    [
        ("utf-8", "Zo\u00eb \u65e5?\n".encode()),
        ("latin-1", b"Zo\xeb ??\n"),
        ("ascii", b"Zo? ??\n"),
        ("utf-8:surrogateescape", "Zo\u00eb \u65e5?\n".encode()),
        ("latin-1:xmlcharrefreplace", b"Zo\xeb &#26085;&#56575;\n"),  # whoever names a way has it
    ],
)
def test_a_character_that_the_encoding_lacks_is_replaced(encoding: str, written: bytes) -> None:
    assert shell("", PYTHONIOENCODING=encoding) == (0, written, b"note: begun\n")
    code, out, err = shell("--fail", PYTHONIOENCODING=encoding)
    assert (code, out) == (7, b"") and b" is no input; give another\n" in err and b"Traceback" not in err


def test_json_is_ascii_in_any_encoding() -> None:
    code, out, _ = shell("--json", PYTHONIOENCODING="ascii")
    assert code == 0 and json.loads(out.decode("ascii"))["result"] == {"text": "Zo\u00eb \u65e5\udcff"}


def test_the_locale_of_a_bare_container() -> None:
    code, out, _ = shell("", PYTHONIOENCODING="", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (code, out) == (0, b"Zo? ??\n")
