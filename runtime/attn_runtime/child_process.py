"""Run a function in a process of its own: where it crashes, hangs or takes all memory, that is one error here.

    with ChildProcess(seconds=60) as child:
        reply = child.run("attn_runtime.ort.file_answers:answers_here", "the captured graph", graph=file, cases=[])

A task is a function of an attn_* package, named "package.module:function"; the child imports its module and nothing else.
It takes and returns what JSON can hold. Between the two processes go JSON lines: requests on the child's stdin, and on its
stdout {"message": ...} while a task works, then {"ok": ...} or {"error": ...}. What libraries print there goes to stderr,
whose last line is told when the child dies.

A child that lives is kept for the next `ChildProcess` of this process: what it has imported takes seconds.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import importlib
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import FunctionType, TracebackType
from typing import IO, Any

from .errors import AttnError, StageError
from .logs import Log, open_log_of_parent

_log = Log(__name__)

#: A child that holds more than this is ended rather than kept: what large weights left behind is of no use to the next task.
MAX_KEPT_BYTES = 512 << 20
#: Seconds that a task gets to end once nobody waits for it any more.
_GRACE = 2.0
_TASK = re.compile(r"attn_\w+(?:\.\w+)+:\w+")


class TaskFailed(AttnError):
    """The child lives and says why its task failed; callers turn this into an error of their own kind."""

    exit_code = StageError.exit_code

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.reason = reason


class ChildDied(StageError):
    """The child ended by itself. `how` is as in "SIGSEGV"; `last_words` is the last line it printed, or "none"."""

    def __init__(self, stage: str, how: str, last_words: str) -> None:
        super().__init__(f"{stage}: the child process died ({how}). Its last words: {last_words}")
        self.how, self.last_words = how, last_words


class ChildProcess:
    """One child, taken or started at the first task and again after a crash. A context manager; not thread-safe.

    seconds      the time limit of one task; math.inf for none
    advice       what to do about a task that ran over it, told after a semicolon
    on_message   called with what a task passes to `send`; what it raises ends the run
    patience     seconds that a task gets to end by itself when it is given up: it sees `cancelled`. Then it is killed, with
                 all that it started
    reuse        whether it may be a child that served before, and may be kept after this one. Leaving the context keeps it,
                 unless it is at work on a `run` that was given up, or the user ends it all; `close` ends it
    """

    def __init__(
        self,
        seconds: float = 600.0,
        *,
        advice: str = "",
        on_message: Callable[[Any], object] | None = None,
        patience: float = 0.0,
        reuse: bool = True,
    ) -> None:
        self.seconds = seconds
        self._advice, self._on_message = advice, on_message
        self._patience, self._reuse = patience, reuse
        self._child: _Child | None = None
        self._pending = 0  # tasks whose reply was not read
        self._running = False  # a `run` waits for its reply, or was given up

    def start(self, task: str, **arguments: Any) -> None:
        """Send a task without waiting; its reply is read, and dropped, before that of the next `run`."""
        self._send(task, arguments)

    def run(self, task: str, stage: str, **arguments: Any) -> dict[str, Any]:
        """Send a task and wait for its reply. `stage` names it in messages.

        Raises TaskFailed with the child's reason, ChildDied when it crashed, StageError when it ran over the limit, and
        ValueError for a task that is no function of ours.
        """
        deadline = time.monotonic() + self.seconds
        if self._child is None:
            self._take(_folder())
        while self._pending:
            self._read("starting the child process", deadline)
        self._running = True
        self._send(task, arguments)
        started = time.monotonic()
        reply = self._read(stage, deadline)
        took = time.monotonic() - started
        _log.info("%s: %s took %.3f s; %s", stage, task, took, reply.get("error", "it is done"))
        self._running = False
        if "error" in reply:
            raise TaskFailed(stage, reply["error"])
        ok: dict[str, Any] = reply["ok"]
        return ok

    def close(self) -> None:
        """End the child, if there is one, and all that it started."""
        child, self._child = self._child, None
        pending, self._pending = self._pending, 0
        if child is not None:
            child.end(self._patience if pending else 0.0)

    def _send(self, task: str, arguments: dict[str, Any]) -> None:
        if not _TASK.fullmatch(task):
            raise ValueError(f'task {task!r}: expected a function of ours, as in "attn_package.module:function"')
        _give_back()
        folder = _folder()
        request = json.dumps({"task": task, "arguments": arguments, "folder": folder})
        child = self._take(folder)
        self._pending += 1
        with contextlib.suppress(OSError):  # a child that died is told of by the read that follows
            child.stdin.write(request + "\n")
            child.stdin.flush()

    def _take(self, folder: str | None) -> _Child:
        """The child that lives, one that was kept, or a new one."""
        if self._child is not None and self._child.process.poll() is not None:
            self.close()
        if self._child is None:
            self._child = _kept_or_new(folder) if self._reuse else _Child(_surroundings(folder))
            self._pending = self._child.owed
        return self._child

    def _read(self, stage: str, deadline: float) -> dict[str, Any]:
        assert self._child is not None
        process, expired = self._child.process, threading.Event()

        def expire() -> None:
            expired.set()
            kill_tree(process)

        # A timer that kills, and not a wait for input: it also ends a child that stops in the middle of a line.
        timer = threading.Timer(max(0.0, deadline - time.monotonic()), expire) if math.isfinite(deadline) else None
        if timer is not None:
            timer.start()
        try:
            line = self._child.stdout.readline()
            while line.endswith("\n") and "message" in (reply := json.loads(line)):
                if self._on_message is not None:
                    self._on_message(reply["message"])
                line = self._child.stdout.readline()
        finally:
            if timer is not None:
                timer.cancel()
                timer.join()
        if expired.is_set():
            self.close()
            advice = f"; {self._advice}" if self._advice else ""
            raise StageError(f"{stage}: no answer within {self.seconds:g} s, so it was stopped{advice}")
        if not line.endswith("\n"):
            how = how_it_ended(process.wait())
            words = last_words(self._child.stderr)
            _log.error("%s: process %d died (%s): %s", stage, process.pid, how, words)
            self.close()
            raise ChildDied(stage, how, words)
        self._pending -= 1
        return dict(reply)

    def __enter__(self) -> ChildProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What was started without waiting is read before the next run, whoever asks. The work of a run that was given up may
        # take forever.
        keep = self._reuse and not self._running and (kind is None or issubclass(kind, Exception)) and not _kept
        if self._child is not None and keep and self._child.is_small():
            self._child.owed = self._pending
            _kept.append(self._child)
            self._child, self._pending = None, 0
        self.close()


def python_command(function: str, *arguments: str) -> list[str]:
    """The command line that calls "package.module:function" in a new interpreter, with `arguments` in sys.argv.

    Not `-m`: that would look for every module in the current folder first, where a json.py may lie.
    """
    module, _, name = function.partition(":")
    code = f"import sys; sys.path[:] = filter(None, sys.path); from {module} import {name}; {name}()"
    return [sys.executable, "-c", code, *arguments]


def how_it_ended(code: int) -> str:
    """An exit code as Popen gives it: "SIGSEGV" or "exit code 1"."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def last_words(printed: IO[str]) -> str:
    """The last line that says something, cut to what fits in a message; "none" without one."""
    printed.seek(0)
    lines = [" ".join(line.split()) for line in printed if line.strip()]
    return lines[-1][:300] if lines else "none"


def kill_tree(process: subprocess.Popen[Any]) -> None:
    """Kill a process that leads a group of its own, and what it started in it."""
    if process.poll() is None:
        with contextlib.suppress(AttributeError, OSError):  # Windows has no groups
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()


def wait_or_kill(process: subprocess.Popen[Any], patience: float) -> None:
    """Wait for its end; what takes longer than `patience` seconds, or a second Ctrl-C meanwhile, kills it and its tree."""
    try:
        process.wait(patience)
    except BaseException as error:
        kill_tree(process)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def _give_back() -> None:
    """Have the C library return what was freed, before the other process takes as much: glibc keeps freed arrays of up to 32
    MiB, which may be all that a task held of a large model."""
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


# --- children of this process -------------------------------------------------------------------------------------------


def _folder() -> str | None:
    """The current folder, which the paths of a task may start from; None when it is gone."""
    with contextlib.suppress(OSError):
        return str(Path.cwd())
    return None


#: pytest tells in the first which test runs, and torch sets the second itself, at the first export: no child asks for either.
_OF_NO_CHILD = ("PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR")


def _surroundings(folder: str | None) -> tuple[int, bool, dict[str, str]]:
    """What a child has from the moment it was started. One of another process, of before a fork, is not ours; where the
    folder is gone only a new one is there too."""
    environment = {name: value for name, value in os.environ.items() if name not in _OF_NO_CHILD}
    return os.getpid(), folder is not None, environment


class _Child:
    """A process that serves tasks, and the file that its stderr goes to. owed: replies to come that nobody waits for."""

    def __init__(self, surroundings: tuple[int, bool, dict[str, str]]) -> None:
        self.surroundings, self.owed = surroundings, 0
        self.stderr: IO[str] = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self.process = subprocess.Popen(
            python_command(f"{__name__}:serve"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            text=True,
        )
        _log.info("child process %d started", self.process.pid)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def is_small(self) -> bool:
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE") <= MAX_KEPT_BYTES
        return False

    def end(self, patience: float = 0.0) -> None:
        try:
            if patience:
                with contextlib.suppress(OSError):
                    self.stdin.close()  # its task sees `cancelled`
                wait_or_kill(self.process, patience)
        finally:
            kill_tree(self.process)
            self.process.wait()
            _log.info("child process %d ended", self.process.pid)
            for stream in (self.stdin, self.stdout, self.stderr):
                with contextlib.suppress(OSError):
                    stream.close()


_kept: list[_Child] = []


@atexit.register
def end_kept() -> None:
    """End the child that is kept for later, if there is one."""
    while _kept:
        _kept.pop().end()


def _kept_or_new(folder: str | None) -> _Child:
    here = _surroundings(folder)
    while _kept:
        child = _kept.pop()
        if folder is not None and child.surroundings == here and child.process.poll() is None:
            return child
        if child.surroundings[0] == here[0]:
            child.end()
    return _Child(here)


# --- inside the child ---------------------------------------------------------------------------------------------------


class _Server:
    def __init__(self) -> None:
        # The protocol keeps the real stdout; whatever libraries print there goes to stderr.
        self._replies = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._lock = threading.Lock()
        self._requests: SimpleQueue[str | None] = SimpleQueue()
        self.cancelled = threading.Event()

    def write(self, value: dict[str, Any]) -> None:
        with self._lock, contextlib.suppress(OSError):  # nobody reads any more, and `listen` ends this process
            self._replies.write(json.dumps(value) + "\n")
            self._replies.flush()

    def listen(self) -> None:
        """Take requests until the one who sends them closes stdin, or is gone."""
        for line in sys.stdin:
            self._requests.put(line)
        self.cancelled.set()
        self._requests.put(None)
        time.sleep(_GRACE)
        os._exit(1)

    def work(self) -> None:
        while (line := self._requests.get()) is not None:
            request = json.loads(line)
            try:
                if request["folder"] is not None:
                    os.chdir(request["folder"])
                reply: dict[str, Any] = {"ok": find_task(request["task"])(**request["arguments"])}
            except MemoryError:
                reply = {"error": "out of memory"}
            except Exception as problem:
                reply = {"error": " ".join(f"{type(problem).__name__}: {problem}".split())[:2000]}
            _give_back()
            self.write(reply)


_server: _Server | None = None


def serve() -> None:
    """What the child does: tasks, one after the other, until nobody sends any more."""
    global _server
    # A group of its own: Ctrl-C on the terminal reaches the parent alone, which then ends this process in order, and what
    # it started with it. Not a session: Linux shares processor time out by session, and the parent, whose threads wait for
    # each other, would get less of two cores for three threads.
    if hasattr(os, "setpgrp"):
        os.setpgrp()
    if "ATTN_LOG_FILE" in os.environ:
        open_log_of_parent()
    _server = _Server()
    threading.Thread(target=_server.listen, daemon=True).start()
    _server.work()
    os._exit(0)  # libraries' own ways out have nothing to add, and the thread still listens


def find_task(name: str) -> Callable[..., dict[str, Any]]:
    """The function that a task names. ValueError unless it is one that an attn_* package itself defines."""
    module, _, function = name.partition(":")
    found = getattr(importlib.import_module(module), function, None) if _TASK.fullmatch(name) else None
    if not isinstance(found, FunctionType) or found.__module__ != module:
        raise ValueError(f'task {name!r}: expected a function of ours, as in "attn_package.module:function"')
    return found


def send(message: Any) -> None:
    """Called by a task: pass `message` to the `on_message` of the one who waits for it. Any thread may."""
    if _server is not None:
        _server.write({"message": message})


def cancelled() -> bool:
    """Called by a task: whether nobody waits for it any more. It is ended two seconds later in any case."""
    return _server is not None and _server.cancelled.is_set()
