"""The steps of a setup, each an attn-run in a process of its own: what crashes there, or takes memory, ends there."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from ..child_process import how_it_ended, last_words, python_command, wait_or_kill

#: Seconds a step that is stopped gets to clean up behind itself, and between two signs of life.
_PATIENCE, _EVERY = 5.0, 15.0


@dataclass(frozen=True)
class Step:
    """How one ended. `document` is the result in the JSON that it printed, None without one; `error` its error in one line, ""
    for none."""

    exit_code: int
    document: Any
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
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as printed,
    ):
        process = subprocess.Popen(
            python_command("attn_runtime.cli.app:main", *arguments),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=printed,
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
            if process.poll() is None:
                process.terminate()
                wait_or_kill(process, _PATIENCE)
        out.seek(0)
        document = None
        with suppress(ValueError, KeyError, TypeError):
            document = json.loads(out.read())["result"]  # `error` tells of what failed
        error, details = _error(printed, code)
        return Step(code, document, error, details, round(time.monotonic() - start, 3))


def _error(printed: IO[str], code: int) -> tuple[str, str]:
    """The line "error: ..." of attn-run with what follows it, or of a crash its last words."""
    if code == 0:
        return "", ""
    printed.seek(0)
    lines = [line.rstrip() for line in printed if line.strip()]
    for number, line in enumerate(lines):
        if line.startswith("error: "):
            return line.removeprefix("error: "), "\n".join(lines[number + 1 :])[:20_000]
    return f"it died ({how_it_ended(code)}). Its last words: {last_words(printed)}", ""
