"""The lines of a file of any size, compressed or not, one at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from ....errors import InputError
from ....files import open_regular, reason

#: A longer line is no row: what holds no line end would be read whole.
MAX_LINE = 16 << 20
_CHUNK = 1 << 20
#: How the end of a name says that a file is compressed.
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}


@dataclass(frozen=True)
class TooLong:
    """Stands for a line of more than MAX_LINE bytes."""


class Opened:
    """A file that is read from its beginning to its end: `read` bytes of its content, of which lines were `taken`."""

    def __init__(self, stream: Any, file: IO[bytes], size: int) -> None:
        self.stream, self._file, self._size = stream, file, size
        self.read = self.taken = 0

    @property
    def share(self) -> float:
        """How much of the file the lines are that were taken, 0..1; of a compressed one about so much."""
        if not self._size or not self.read:
            return 1.0
        return min(1.0, self._file.tell() / self._size * self.taken / self.read)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Opened]:
    """The file at `path`, decompressed where its name says so. InputError for one that can't be opened or read."""
    import pyarrow as pa

    codec = COMPRESSED.get(os.path.splitext(path)[1].lower())  # noqa: PTH122
    try:
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            stream = pa.CompressedInputStream(pa.PythonFile(file, "r"), codec) if codec else file
            yield Opened(stream, file, size)
    except (OSError, EOFError) as error:  # pyarrow's own are OSErrors
        raise InputError(f"{path}: can't be read: {reason(error)}") from error


def lines(opened: Opened) -> Iterator[bytes | TooLong]:
    """Every line without its end (\\n or \\r\\n), and without a mark of the byte order in front of the first."""
    rest, started, dropping = b"", False, False
    found: list[bytes | TooLong]
    while chunk := opened.stream.read(_CHUNK):
        if not started:
            chunk, started = chunk.removeprefix(b"\xef\xbb\xbf"), True
        *found, rest = (rest + chunk).split(b"\n")
        if dropping and found:
            found[0], dropping = TooLong(), False
        opened.read += len(chunk)
        for line in found:
            opened.taken += 1 if isinstance(line, TooLong) else len(line) + 1
            yield line if isinstance(line, TooLong) or len(line) <= MAX_LINE else TooLong()
        if dropping or len(rest) > MAX_LINE:
            rest, dropping = b"", True
    if dropping:
        yield TooLong()
    elif rest:
        yield rest
