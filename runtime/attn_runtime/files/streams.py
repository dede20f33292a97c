"""Input from what the process has open already: a pipe on stdin, or the shell's process substitution."""

from __future__ import annotations

import os
import re
import selectors
import stat
import sys
from pathlib import Path
from typing import BinaryIO

from ..errors import InputError

#: Most that is read of a stream, which tells no size: 23 minutes of 48 kHz stereo in 16 bits.
MAX_STREAM_BYTES = 256 << 20

_DESCRIPTOR = re.compile(r"(?:/dev|/proc/self)/fd/(\d{1,9})")


def open_descriptor(file: str | os.PathLike[str]) -> int | None:
    """The number of the descriptor that a name stands for: "-" and /dev/stdin, /dev/fd/N and what a shell makes of <(...).

    None for the name of a file, and where what is open is a regular file that can be read by its name. A FIFO in a folder is
    none either: nobody has opened it, and to open it would wait until somebody writes.
    """
    name = os.fspath(file)
    if name == "-":
        return 0
    matched = _DESCRIPTOR.fullmatch(name)
    if name != "/dev/stdin" and matched is None:
        return None
    number = int(matched.group(1)) if matched else 0
    try:
        return None if stat.S_ISREG(os.fstat(number).st_mode) else number
    except OSError:
        return number  # that it is closed is told when it is read


def bytes_or_path(
    file: str | os.PathLike[str], what: str, limit: int = MAX_STREAM_BYTES, typed: bool = False
) -> bytes | Path:
    """What `file` holds where it stands for an open descriptor, read until its writer closes it, else its path.

    Raises InputError, opened by `what`, where it can't be read, for a terminal unless it may be `typed` (nobody types a
    recording), for nothing at all, and for more than `limit` bytes.
    """
    number = open_descriptor(file)
    if number is None:
        return Path(file)
    name = "stdin" if number == 0 else f"descriptor {number}"
    if number == 0 and (sys.stdin is None or getattr(sys.stdin, "closed", False)):
        raise InputError(f"{what}: stdin is closed; pipe a file into it, or name the file")
    try:
        # Whoever opened the descriptor closes it.
        stream: BinaryIO = sys.stdin.buffer if os.fspath(file) == "-" else open(number, "rb", closefd=False)  # noqa: SIM115
        if stream.isatty() and not typed:
            raise InputError(f"{what}: {name} is a terminal; pipe a file into it, or name the file")
        content = _whole(stream, limit + 1)
    except OSError as error:
        raise InputError(f"{what}: {name} can't be read: {error.strerror}; name the file") from error
    if len(content) > limit:
        raise InputError(f"{what}: {name} gives more than {limit} bytes; cut it, or save it and name the file")
    if not content:
        raise InputError(
            f"{what}: {name} is empty; the program that writes to it may have failed, or it was read before: name it once"
        )
    return content


def source_name(source: bytes | Path) -> str:
    """What a message calls what `bytes_or_path` returned."""
    return "(piped)" if isinstance(source, bytes) else source.name


def _whole(stream: BinaryIO, most: int) -> bytes:
    """What the stream holds until its writer closes it, up to `most` bytes.

    Whoever made it non-blocking, a parent with the same pipe or terminal for one, has it give what is there and no more,
    or None.
    """
    parts: list[bytes] = []
    while most > 0:
        part: bytes | None = stream.read(most)
        if part is None:
            _wait_for(stream)
            continue
        parts.append(part)
        most -= len(part)
        # Of a terminal, the end is told once: another read would wait for a second Ctrl-D.
        if not part or (stream.isatty() and os.get_blocking(stream.fileno())):
            break
    return b"".join(parts)


def _wait_for(stream: BinaryIO) -> None:
    """Until there is something to read, or the end. select.select takes no descriptor from 1024 on, as a server may have."""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        selector.select()
