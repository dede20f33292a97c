"""Whether a path that a user named is a file: to open a pipe waits for ever, and a device has no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

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
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return ""
    if stat.S_ISREG(mode):
        return ""
    kind = next((name for is_it, name in _KINDS if is_it(mode)), "something else")
    return f"is not a regular file, but {kind}"
