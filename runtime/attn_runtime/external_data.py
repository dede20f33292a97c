"""Which other files an ONNX file makes a runtime read, without onnx and without loading the weights.

An ONNX file may name any path as the place of a tensor's bytes. Runtimes of today refuse paths outside the model's
folder; ONNX Runtime up to 1.23, the last for Python 3.10, opens `/etc/passwd` as gladly as `model.onnx.data`.
So the references are read here, from the protobuf wire format, before any runtime sees the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from .errors import BundleError
from .strict_json import shown

# Field numbers of onnx.proto3: for each kind of message, the fields worth entering and the kind of what they hold.
_CHILDREN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def check_external_data(file: Path, where: str) -> list[Path]:
    """The files that `file` names as holding its tensors, each an existing file inside the folder of `file`.

    Raises BundleError when the file is missing, is no readable ONNX file, or names a path that is absolute, leaves the
    folder (also through a symbolic link), or does not exist.
    """
    folder = file.parent.resolve()
    found: dict[str, Path] = {}
    for location in _locations(file, where):
        if location in found:
            continue
        keeps = f"{where}: {file.name} keeps a tensor in {shown(location)}"
        try:
            target = (folder / location).resolve()
            is_file = target.is_file()
        except (OSError, RuntimeError, ValueError) as error:  # too long a name, a loop of links, a NUL
            raise BundleError(f"{keeps}, which no file can be called. Export it again.") from error
        if Path(location).is_absolute() or not target.is_relative_to(folder):
            raise BundleError(f"{keeps}, outside its own folder. Not opened: a model reads no files but its own.")
        if not is_file:
            raise BundleError(f"{keeps}, which is not there. Copy it next to {file.name}.")
        found[location] = target
    return list(found.values())


def _locations(file: Path, where: str) -> Iterator[str]:
    try:
        with file.open("rb") as stream:
            if not stream.seek(0, 2):
                raise BundleError(f"{where}: {file.name} is empty.")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield from _walk(data)
    except OSError as error:
        raise BundleError(f"{where}: can't read {file.name}: {error.strerror or error}.") from error
    except (ValueError, IndexError) as error:
        raise BundleError(f"{where}: {file.name} is truncated or no ONNX file ({error}). Export it again.") from error


def _walk(data: mmap.mmap) -> Iterator[str]:
    # A stack, not recursion: a hostile file may nest graphs as deep as it likes.
    pending = [("model", 0, len(data))]
    while pending:
        kind, start, end = pending.pop()
        if kind == "entry":
            key, value = _entry(data, start, end)
            if key == b"location":
                yield value.decode()
            continue
        children = _CHILDREN[kind]
        for field, begin, stop in _messages(data, start, end):
            if field in children:
                pending.append((children[field], begin, stop))


def _entry(data: mmap.mmap, start: int, end: int) -> tuple[bytes, bytes]:
    parts = {1: b"", 2: b""}
    for field, begin, stop in _messages(data, start, end):
        parts[field] = data[begin:stop]  # the last one counts, as protobuf has it
    return parts[1], parts[2]


def _messages(data: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, first byte, one past the last) of every length-delimited field; the others are stepped over."""
    while at < end:
        tag, at = _varint(data, at, end)
        wire = tag & 7
        if wire == _BYTES:
            size, at = _varint(data, at, end)
            if at + size > end:
                raise ValueError(f"a field ends {at + size - end} bytes past its message")
            yield tag >> 3, at, at + size
            at += size
        elif wire == _VARINT:
            _, at = _varint(data, at, end)
        elif wire == _FIXED64:
            at += 8
        elif wire == _FIXED32:
            at += 4
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
    if at != end:
        raise ValueError("a number ends past its message")


def _varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError(f"a number without end at byte {at}")
