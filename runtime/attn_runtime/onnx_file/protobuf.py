"""The protobuf wire format, as far as reading an ONNX file takes: field by field, without decoding what is not asked for."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ..errors import BundleError
from ..files import irregular

VARINT, _FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message. `start` and `stop` bound its bytes; `value` is a varint's number."""

    number: int
    wire: int
    start: int
    stop: int
    value: int


@contextmanager
def open_message(file: Path, where: str) -> Iterator[mmap.mmap]:
    """The bytes of `file`, mapped. Reading a broken message inside raises BundleError, opened by `where`."""
    if problem := irregular(file):
        raise BundleError(f"{where}: {file.name} {problem}; give an ONNX file.")
    try:
        with file.open("rb") as stream:
            if not stream.seek(0, 2):
                raise BundleError(f"{where}: {file.name} is empty.")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise BundleError(f"{where}: can't read {file.name}: {error.strerror or error}.") from error
    except (ValueError, IndexError) as error:
        raise BundleError(f"{where}: {file.name} is truncated or no ONNX file ({error}). Export it again.") from error


def fields(data: mmap.mmap, at: int, end: int) -> Iterator[Field]:
    """Every field of the message in data[at:end], in order. Raises ValueError or IndexError where it is broken."""
    while at < end:
        tag, at = varint(data, at, end)
        wire, number = tag & 7, tag >> 3
        if wire == BYTES:
            size, at = varint(data, at, end)
            if at + size > end:
                raise ValueError(f"a field ends {at + size - end} bytes past its message")
            yield Field(number, wire, at, at + size, 0)
            at += size
        elif wire == VARINT:
            value, stop = varint(data, at, end)
            yield Field(number, wire, at, stop, value)
            at = stop
        elif wire in (_FIXED64, FIXED32):
            stop = at + (8 if wire == _FIXED64 else 4)
            if stop > end:
                raise ValueError("a number ends past its message")
            yield Field(number, wire, at, stop, 0)
            at = stop
        else:
            raise ValueError(f"wire type {wire} at byte {at}")


def messages(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, first byte, one past the last) of every length-delimited field; the others are stepped over."""
    return ((f.number, f.start, f.stop) for f in fields(data, at, end) if f.wire == BYTES)


def entry(data: mmap.mmap, start: int, end: int) -> tuple[bytes, bytes]:
    """Key and value of a StringStringEntryProto."""
    parts = {1: b"", 2: b""}
    for number, begin, stop in messages(data, start, end):
        parts[number] = data[begin:stop]  # the last one counts, as protobuf has it
    return parts[1], parts[2]


def varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and where it ends."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError(f"a number without end at byte {at}")
