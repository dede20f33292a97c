"""Files alone are opened for reading: to open a pipe waits for ever, and a device has no end."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

from ..escape import shell_words

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def irregular(path: str | os.PathLike[str]) -> str:
    """`is not a regular file, but a FIFO` for a message; "" for a file, and where nothing is there or can be seen.

    Links are followed. Ask before opening whatever a user may have named: who opens the file tells of what is missing.
    """
    try:
        return _irregular(Path(path).stat().st_mode)
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ""


def is_file(path: str | os.PathLike[str]) -> bool:
    """As Path.is_file, but that too long a name, or a folder that may not be searched, is no file and no exception."""
    return os.path.isfile(path)  # noqa: PTH113


def is_folder(path: str | os.PathLike[str]) -> bool:
    """As Path.is_dir, and as `is_file`."""
    return os.path.isdir(path)  # noqa: PTH112


def resolved(path: str | os.PathLike[str]) -> Path:
    """The absolute path with every link followed, whether something is there or not; OSError (ELOOP) for a loop of links.

    Path.resolve raises RuntimeError for a loop up to Python 3.12, and nothing from 3.13 on.
    """
    real = Path(os.path.realpath(path))
    try:
        os.stat(path)  # noqa: PTH116
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise
    return real


def reason(error: Exception) -> str:
    """What an error says, in one line, without the number and the path that Python puts around the system's words."""
    return (isinstance(error, OSError) and error.strerror) or " ".join(str(error).split())


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """The file at `path`; OSError (EINVAL) with the words of `irregular` where it is none, at once."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if problem := _irregular(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, problem, os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def copy_command(folder: Path) -> str:
    """What a shell copies `folder` with, files in the place of links: a model cache keeps its files elsewhere."""
    return shell_words("cp", "-rL", str(folder), f"{folder.stem}-copy{folder.suffix}")


def _irregular(mode: int) -> str:
    if stat.S_ISREG(mode):
        return ""
    kind = next((name for is_it, name in _KINDS if is_it(mode)), "something else")
    return f"is not a regular file, but {kind}"
