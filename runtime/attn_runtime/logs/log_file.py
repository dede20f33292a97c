"""The log of a command: one file, appended to, one line a record, by the process and by the children that it starts."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from pathlib import Path

from ..errors import OutputError
from ..escape import log_line

LEVELS = ("debug", "info", "warning", "error")
#: Tells child processes of ours. Absolute, since they may change their folder.
_FILE, _LEVEL = "ATTN_LOG_FILE", "ATTN_LOG_LEVEL"
_PACKAGES = ("attn_runtime", "attn_models", "attn_export")


class _Handler(logging.Handler):
    """Each record is one write at the end of the file, so that those of several processes do not mix."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        # Not to wait for the reader of a FIFO.
        self._number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0), 0o666)
        self.failed = False

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.exc_info:
                text += "\n" + logging.Formatter().formatException(record.exc_info)
            when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
            line = f"{when} {record.levelname} {record.name}[{record.process}] {log_line(text)}\n"
            os.write(self._number, line.encode("utf-8", "backslashreplace"))
        except Exception:  # a full disk, or a library's odd record: the work goes on
            self.failed = True

    def close(self) -> None:
        super().close()
        with contextlib.suppress(OSError):
            os.close(self._number)


_open: list[_Handler] = []


def open_log(file: str | os.PathLike[str], level: str = "info") -> None:
    """Write records from now on: ours of `level` and above, and what other libraries log as a warning.

    Raises OutputError where the file can't be written.
    """
    close_log()
    path = Path(file).absolute()
    try:
        handler = _Handler(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"can't write the log {file}: {why}; choose another place for --log-file") from error
    logging.getLogger().addHandler(handler)
    for name in _PACKAGES:
        logging.getLogger(name).setLevel(level.upper())
    _open.append(handler)
    os.environ[_FILE], os.environ[_LEVEL] = str(path), level


def open_log_of_parent() -> None:
    """The log of the process that started this one, as its environment tells; nothing where there is none, or none any more."""
    level = os.environ.get(_LEVEL, "info").lower()
    if (file := os.environ.get(_FILE)) and not _open:
        with contextlib.suppress(OutputError):
            open_log(file, level if level in LEVELS else "info")


def close_log() -> bool:
    """Write no more. False where a record could not be written."""
    written = True
    while _open:
        handler = _open.pop()
        logging.getLogger().removeHandler(handler)
        handler.close()
        written = written and not handler.failed
        for name in (_FILE, _LEVEL):
            os.environ.pop(name, None)
    return written
