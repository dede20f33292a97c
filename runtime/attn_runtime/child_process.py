"""Runs risky stages in a child process with a time limit, so that a crash or a hang there is an error here.

A child that served without an error is kept for the next export of this process: what it has imported takes seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from .errors import AttnError, StageError

# Not `-m`: that would look for every module in the current folder first, where a json.py may lie.
_CHILD = "import sys; sys.path[:] = filter(None, sys.path); from attn_export.worker import main; main()"


#: A child that holds more than this is ended rather than kept: what large weights left behind is of no use to the next task.
_MOST_KEPT_BYTES = 512 << 20


def _surroundings() -> tuple[int, Path | None, dict[str, str]]:
    """What a child has from the moment it was started. One of another process, of before a fork, is not ours."""
    folder = None
    with contextlib.suppress(OSError):  # the folder is gone
        folder = Path.cwd()
    # pytest tells there which test runs; no child asks.
    return os.getpid(), folder, {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}


@dataclass
class _Child:
    """A process that serves tasks, and the file that its stderr goes to."""

    surroundings: tuple[int, Path | None, dict[str, str]]
    said: IO[str] = field(
        default_factory=lambda: tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
    )

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, text=True
        )

    def last_words(self) -> str:
        self.said.seek(0)
        lines = [line.strip() for line in self.said if line.strip()]
        return lines[-1][:200] if lines else ""

    def worth_keeping(self) -> bool:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") <= _MOST_KEPT_BYTES
        return False

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.said):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()


_kept: list[_Child] = []


def _end_kept() -> None:
    while _kept:
        _kept.pop().end()


atexit.register(_end_kept)


def _kept_or_new() -> _Child:
    here = _surroundings()
    while _kept:
        child = _kept.pop()
        if child.surroundings == here and child.process.poll() is None:
            return child
        if child.surroundings[0] == here[0]:
            child.end()
    return _Child(here)


class TaskFailed(AttnError):
    """The child lives and says why its task failed; callers turn this into an error of their own kind."""

    exit_code = StageError.exit_code


class Isolated:
    """One child process, taken or started at the first task and again after a crash. A context manager; not thread-safe.

    `seconds` is the time limit of one task. Leaving the context without an error keeps the child for the next one;
    `close` ends it.
    """

    def __init__(self, seconds: float = 600.0) -> None:
        self.seconds = seconds
        self._child: _Child | None = None
        self._owed = 0

    def start(self, task: str, **arguments: Any) -> None:
        """Send a task without waiting; its reply is read, and dropped, before that of the next `run`."""
        self._send(task, arguments)
        self._owed += 1

    def run(self, task: str, stage: str, **arguments: Any) -> dict[str, Any]:
        """Send a task and wait for its reply. `stage` names it in messages.

        Raises TaskFailed with the child's reason, StageError when it crashed or ran over the limit.
        """
        deadline = time.monotonic() + self.seconds
        while self._owed:
            self._owed -= 1
            self._read("starting the child process", deadline)
        self._send(task, arguments)
        reply = self._read(stage, deadline)
        if "error" in reply:
            raise TaskFailed(f"{stage}: {reply['error']}")
        ok: dict[str, Any] = reply["ok"]
        return ok

    def _send(self, task: str, arguments: dict[str, Any]) -> None:
        if self._child is not None and self._child.process.poll() is not None:
            self.close()
        if self._child is None:
            self._owed = 0
            self._child = _kept_or_new()
        stdin = self._child.process.stdin
        assert stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a child that died is told of by the read that follows
            stdin.write(json.dumps({"task": task, "arguments": arguments}) + "\n")
            stdin.flush()

    def _read(self, stage: str, deadline: float) -> dict[str, Any]:
        assert self._child is not None
        process = self._child.process
        assert process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            ready = selector.select(max(0.0, deadline - time.monotonic()))
        if not ready:
            self.close()
            raise StageError(
                f"{stage}: no answer within {self.seconds:.0f} s, so it was stopped; "
                "raise --stage-timeout, or leave the stage out with --skip-pass"
            )
        line = process.stdout.readline()
        if not line:
            code = process.wait()
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            words = self._child.last_words()
            self.close()
            raise StageError(f"{stage}: the child process died ({how}). Its last words: {words or 'none'}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def close(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def __enter__(self) -> Isolated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error a reply may be on its way; a child that owes one would answer the next task with it.
        if self._child is not None and kind is None and not self._owed and not _kept and self._child.worth_keeping():
            _kept.append(self._child)
            self._child = None
        self.close()
