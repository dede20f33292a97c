"""stdin, stdout and stderr as a command finds them: closed, full, without a reader, of an encoding that lacks characters."""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO, cast

from ...errors import OutputError


class ReaderGoneError(BaseException):
    """Nobody reads stdout or stderr any more, and the process ends as on Ctrl-C. No BrokenPipeError: rich ends it with 1."""


class _Stream(io.TextIOWrapper):
    """Over the buffer of a standard stream. A character that the encoding lacks is written as "?" or escaped; `fail` is called
    where nothing can be written."""

    def __init__(self, own: io.TextIOWrapper, errors: str, fail: Callable[[OSError], None]) -> None:
        self._fail = fail
        # click takes a stream of ASCII for a mistake and writes UTF-8 into it, so such a stream is not called one. Whoever
        # named another way than to fail for what can't be encoded has it.
        self._only_ascii = codecs.lookup(own.encoding).name == "ascii"
        self._kept_errors = errors if own.errors in ("strict", "surrogateescape") else own.errors or errors
        super().__init__(
            own.buffer,
            "utf-8" if self._only_ascii else own.encoding,
            self._kept_errors,
            line_buffering=own.line_buffering,
            write_through=own.write_through,
        )

    def write(self, text: str, /) -> int:
        with self._failing():
            super().write(text.encode("ascii", self._kept_errors).decode("ascii") if self._only_ascii else text)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            super().flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            self._fail(error)


def _stdout_fails(error: OSError) -> None:
    raise OutputError(f"can't write to stdout: {error.strerror or error}") from error


def _stderr_fails(error: OSError) -> None:
    """The exit code still tells."""
    into_nothing(sys.stderr)


def open_streams() -> None:
    """Make stdout and stderr ones that can be used: never None, and with errors that are told in one line.

    What is closed (None in Python) reads and writes nothing from now on, under its old number, the lowest that is free: a
    model's file that is opened later would otherwise have number 1 or 2, and get what a library prints. A closed stdin stays
    None, so that who reads it can tell.
    """
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)  # for the rest of the process
    # Streams that a test or a caller put in their place are theirs.
    if sys.stdout is None:
        sys.stdout = _nothing()
    elif sys.stdout is sys.__stdout__ and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = _Stream(sys.stdout, "replace", _stdout_fails)
    if sys.stderr is None:
        sys.stderr = _nothing()
    elif sys.stderr is sys.__stderr__ and isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr = _Stream(sys.stderr, "backslashreplace", _stderr_fails)


def _nothing() -> TextIO:
    return cast(TextIO, Path(os.devnull).open("w", encoding="utf-8", errors="replace"))  # for the rest of the process


def into_nothing(stream: TextIO) -> None:
    """What is still buffered goes nowhere; without this, Python complains once more on its way out."""
    with contextlib.suppress(OSError):  # no file behind it
        number = stream.fileno()
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, number)
        os.close(nothing)
