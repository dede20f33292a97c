"""Which other files an ONNX file makes a runtime read, without onnx and without loading the weights.

An ONNX file may name any path as the place of a tensor's bytes. Runtimes of today refuse paths outside the model's
folder; ONNX Runtime up to 1.23, the last for Python 3.10, opens `/etc/passwd` as gladly as `model.onnx.data`.
So the references are read here, from the protobuf wire format, before any runtime sees the file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

from ..errors import BundleError
from ..files import copy_command, irregular, shown
from .protobuf import entry, messages, open_message

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
            linked = not Path(location).is_absolute() and ".." not in Path(location).parts
            hint = f" If you trust it: {copy_command(folder)}, and take the copy." if linked else ""
            raise BundleError(f"{keeps}, outside its own folder. Not opened: a model reads no files but its own.{hint}")
        if problem := irregular(target):
            raise BundleError(f"{keeps}, which {problem}. Copy the file next to {file.name}.")
        if not is_file:
            raise BundleError(f"{keeps}, which is not there. Copy it next to {file.name}.")
        found[location] = target
    return list(found.values())


def external_ranges(file: Path, where: str) -> set[tuple[str, int, int]]:
    """(location, first byte, one past the last) of every tensor that `file` keeps in another file, equal ones once.

    `check_external_data` comes first, which says whether a location may be opened. A tensor without a length takes the
    rest of its file. Raises BundleError for what is no readable ONNX file, and for bounds that are no numbers.
    """
    found = set()
    with open_message(file, where) as data:  # which turns the ValueError of a bound into a BundleError
        for tensor in _walk(data):
            told = dict(tensor)
            location, start = told.get(b"location", b"").decode(), int(told.get(b"offset", b"0"))
            rest = (file.parent / location).stat().st_size if b"length" not in told else 0
            found.add((location, start, start + int(told[b"length"]) if b"length" in told else rest))
    return found


def _locations(file: Path, where: str) -> Iterator[str]:
    with open_message(file, where) as data:
        for tensor in _walk(data):
            # All of them: of a key that occurs twice, runtimes differ in which one they take.
            yield from (value.decode() for key, value in tensor if key == b"location")


def _walk(data: mmap.mmap) -> Iterator[list[tuple[bytes, bytes]]]:
    """Keys and values of each tensor that lies in another file."""
    # A stack, not recursion: a hostile file may nest graphs as deep as it likes.
    pending = [("model", 0, len(data))]
    while pending:
        kind, start, end = pending.pop()
        children = _CHILDREN[kind]
        if kind == "tensor":
            told = [entry(data, *span) for field, *span in messages(data, start, end) if field in children]
            if told:
                yield told
            continue
        for field, begin, stop in messages(data, start, end):
            if field in children:
                pending.append((children[field], begin, stop))
