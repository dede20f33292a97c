"""Folders and files that nobody but this user can have written: what is found there may be believed later."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_PROGRAM = "attn-runtime"


def is_own(found: os.stat_result) -> bool:
    """Whether it is this user's (of root, root's), and neither its group nor others may write to it. On Windows nothing is."""
    return hasattr(os, "geteuid") and found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@contextmanager
def own_cache_folder(name: str, make: bool = False) -> Iterator[int]:
    """A descriptor of $XDG_CACHE_HOME/attn-runtime/NAME, or of that in ~/.cache, good inside the block; `make` makes it.

    Raises OSError where it is not there, where it or the folder above is a link, and where somebody else could write to
    either.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    base = base if base.startswith("/") else os.path.expanduser("~/.cache")  # noqa: PTH111  (Path.home raises without one)
    if make:
        os.makedirs(base, 0o700, exist_ok=True)  # noqa: PTH103
    above = os.open(base, _FOLDER & ~getattr(os, "O_NOFOLLOW", 0))
    try:
        for each in (_PROGRAM, name):
            if make:
                with suppress(FileExistsError):
                    os.mkdir(each, 0o700, dir_fd=above)
            found = os.open(each, _FOLDER, dir_fd=above)
            os.close(above)
            above = found
            if not is_own(os.fstat(above)):
                raise PermissionError(f"{base}/{_PROGRAM}: somebody else could write to it")
        yield above
    finally:
        os.close(above)
