"""Runs risky stages in a child process with a time limit, so that a crash or a hang there is an error here."""

from __future__ import annotations

import contextlib
import json
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from types import TracebackType
from typing import Any

from attn_runtime.errors import AttnError, StageError

# Not `-m`: that would look for every module in the current folder first, where a json.py may lie.
_CHILD = "import sys; sys.path[:] = filter(None, sys.path); from attn_export.worker import main; main()"


class TaskFailed(AttnError):
    """The child lives and says why its task failed; callers turn this into an error of their own kind."""

    exit_code = StageError.exit_code


class Isolated:
    """One child process, started at the first task and again after a crash. A context manager; not thread-safe.

    `seconds` is the time limit of one task.
    """

    def __init__(self, seconds: float = 600.0) -> None:
        self.seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
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
        if self._process is None or self._process.poll() is not None:
            self._owed = 0
            self._process = subprocess.Popen(
                [sys.executable, "-c", _CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
            )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # a child that died is told of by the read that follows
            self._process.stdin.write(json.dumps({"task": task, "arguments": arguments}) + "\n")
            self._process.stdin.flush()

    def _read(self, stage: str, deadline: float) -> dict[str, Any]:
        process = self._process
        assert process is not None and process.stdout is not None
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
            self._process = None
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            raise StageError(f"{stage}: the child process died ({how}). Its last words: {self._last_words() or 'none'}")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _last_words(self) -> str:
        self._said.seek(0)
        lines = [line.strip() for line in self._said if line.strip()]
        return lines[-1][:200] if lines else ""

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for stream in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()
            self._process = None

    def __enter__(self) -> Isolated:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        self._said.close()
