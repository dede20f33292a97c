"""Write one file so that it appears whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..errors import OutputError
from .atomic_write import Staging


def write_whole(file: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file at the path it is given, then put it in the place of `file`.

    Raises OutputError when that can't be done; what was at `file` is then still there.
    """
    try:
        if file.is_dir():
            raise IsADirectoryError(0, "is a folder")
        staging = Staging(file)
        try:
            write(staging.new / file.name)
            staging.publish()
        except BaseException:
            staging.discard()
            raise
    except OSError as error:
        raise OutputError(f"can't write {file}: {error.strerror or error}") from error


def write_file(file: Path, data: bytes) -> None:
    """Put `data` in the place of `file`. Raises OutputError as `write_whole` does."""

    def write(path: Path) -> None:
        path.write_bytes(data)

    write_whole(file, write)
