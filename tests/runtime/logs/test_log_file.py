"""The log of a command: a line a record, whatever is in it, and of whichever process."""

from __future__ import annotations

import errno
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import OutputError
from attn_runtime.logs import LEVELS, Log, close_log, open_log, open_log_of_parent

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR) [\w.]+\[\d+\] .*")


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    levels = {name: logging.getLogger(name).level for name in ("attn_runtime", "attn_models", "attn_export")}
    yield
    close_log()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_every_record_is_one_line_that_no_terminal_acts_on(tmp_path: Path) -> None:
    open_log(tmp_path / "a.log")
    hostile = "two\nlines \x1b]0;x\x07 \u2028 é"
    Log("attn_runtime.a").info("%s", hostile)
    logging.getLogger("other.library").warning("of %s", "others")
    logging.getLogger("other.library").info("not this")
    try:
        raise ValueError("odd")
    except ValueError:
        logging.getLogger("attn_export").exception("failed")
    assert close_log() is True
    first, second, third = (tmp_path / "a.log").read_text("utf-8").splitlines()
    assert all(LINE.fullmatch(line) for line in (first, second, third))
    assert first.endswith(f"INFO attn_runtime.a[{os.getpid()}] two\\nlines \\x1b]0;x\\x07 \\u2028 é")
    assert second.endswith("of others") and third.endswith("\\nValueError: odd")


def test_a_full_disk_ends_nothing_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    open_log(tmp_path / "a.log")
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        Log("attn_runtime.a").info("lost")
    assert close_log() is False


@pytest.mark.parametrize("level", LEVELS)
def test_levels(tmp_path: Path, level: str) -> None:
    open_log(tmp_path / "a.log", level)
    for each in LEVELS:
        getattr(Log("attn_export.b"), each)("text")
    assert close_log() is True
    assert len((tmp_path / "a.log").read_text().splitlines()) == len(LEVELS) - LEVELS.index(level)


def test_it_is_appended_to_and_nothing_follows_its_end(tmp_path: Path) -> None:
    for text in ("one", "two"):
        open_log(tmp_path / "a.log")
        Log("attn_runtime.c").info(text)
        assert close_log()
    Log("attn_runtime.c").error("three")
    assert [line[-3:] for line in (tmp_path / "a.log").read_text().splitlines()] == ["one", "two"]
    assert "ATTN_LOG_FILE" not in os.environ


@pytest.mark.parametrize("place", ["", "missing/a.log", "a\0b"])
def test_what_cannot_be_written_is_told_at_once(tmp_path: Path, place: str) -> None:
    with pytest.raises(OutputError, match="can't write the log .*; choose another"):
        open_log(tmp_path / place)


def test_a_pipe_without_a_reader_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError):
        open_log(tmp_path / "pipe")


def test_children_write_to_the_same_file(tmp_path: Path, valid_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    open_log("a.log", "debug")
    task, asked = "attn_runtime.tasks.verification:replay_here", {"backend": "ort", "device": "cpu"}
    with ChildProcess(reuse=False) as child:
        child.run(task, "verifying", path=str(valid_bundle), **asked, graph=None, precision=None, cache=None)
    close_log()
    lines = (tmp_path / "a.log").read_text().splitlines()
    (opened,) = [line for line in lines if "attn_runtime.bundle.reader" in line]
    assert f"[{os.getpid()}]" not in opened
    assert [line for line in lines if "attn_runtime.session.backend_choice" in line and line.endswith("ort on cpu")]
    assert [line for line in lines if f"[{os.getpid()}] child process" in line and line.endswith("started")]
    assert [line for line in lines if f"verifying: {task} took" in line and line.endswith("it is done")]


def test_an_environment_that_names_nothing_good_is_not_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATTN_LOG_FILE", str(tmp_path / "gone" / "a.log"))
    monkeypatch.setenv("ATTN_LOG_LEVEL", "loud")
    open_log_of_parent()
    assert close_log() is True
