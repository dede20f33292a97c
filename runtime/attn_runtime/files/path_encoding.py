"""Paths for libraries that take text: on Linux a name is bytes, and Python keeps those that are not UTF-8 as surrogates."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def not_utf8(path: str | os.PathLike[str]) -> str:
    """`is not UTF-8; rename it` for a message; "" for a path that is."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return "is not UTF-8, which most libraries expect of a path; rename it"
    return ""


@contextmanager
def utf8_path(file: Path) -> Iterator[Path]:
    """Another name for `file` where the folder's is not UTF-8, good inside the block.

    Raises OSError where the file's own name is not, or where there is no such other name.
    """
    if not not_utf8(file):
        yield file
        return
    if problem := not_utf8(file.name):
        raise OSError(errno.EILSEQ, f"its name {problem}", str(file))
    folder = os.open(file.parent, os.O_RDONLY)
    try:
        other = Path(f"/proc/self/fd/{folder}", file.name)
        if not other.exists():
            raise OSError(errno.EILSEQ, f"its path {not_utf8(file)}", str(file))
        yield other
    finally:
        os.close(folder)
