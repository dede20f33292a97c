"""The steps of a setup, each an attn-run in a process of its own: what crashes there, or takes memory, ends there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from signal import Signals
from typing import Any

_CHILD = "import sys; sys.path[:] = filter(None, sys.path); from attn_runtime.cli.app import main; main()"
#: Seconds a step that is stopped gets to clean up behind itself, and between two signs of life.
_PATIENCE, _EVERY = 5.0, 15.0


@dataclass(frozen=True)
class Step:
    """How one ended. `told` is the JSON document it printed, None without one; `error` its error in one line, "" for none."""

    exit_code: int
    told: Any
    error: str
    details: str
    seconds: float


def run_step(
    arguments: Sequence[str], keep_open: int | None = None, alive: Callable[[float], object] | None = None
) -> Step:
    """`attn-run ARGUMENTS`. `keep_open` is a descriptor that the child holds as long as it lives; `alive` is called now and
    then with the seconds that went by. However this ends, the child is gone."""
    start = time.monotonic()
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as out,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
    ):
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=said,
            pass_fds=() if keep_open is None else (keep_open,),
            start_new_session=True,
        )
        try:
            while True:
                try:
                    code = process.wait(_EVERY)
                    break
                except subprocess.TimeoutExpired:
                    if alive is not None:
                        alive(time.monotonic() - start)
        finally:
            _end(process)
        out.seek(0)
        said.seek(0)
        told = None
        with suppress(ValueError):
            told = json.loads(out.read())
        error, details = _error(said.read(), code)
        return Step(code, told, error, details, round(time.monotonic() - start, 3))


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_PATIENCE)
    except BaseException as error:
        with suppress(OSError):
            os.killpg(process.pid, 9)
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def _error(said: str, code: int) -> tuple[str, str]:
    """The line "error: ..." of attn-run with what follows it, or of a crash its last words."""
    if code == 0:
        return "", ""
    lines = [line.rstrip() for line in said.splitlines() if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: "), "\n".join(lines[number + 1 :])[:20_000]
    how = Signals(-code).name if code < 0 else f"exit code {code}"
    return f"it died ({how}). Its last words: {lines[-1][:300] if lines else 'none'}", ""
