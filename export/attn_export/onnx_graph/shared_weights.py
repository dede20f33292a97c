"""The weights of several graphs, once: what is equal in content lies at one place of one data file beside them.

Views of one module share parameters, but each ONNX file is captured with a copy of its own. Equal bytes are found by
their hash, whatever the tensors are called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from attn_runtime.errors import PassError
from attn_runtime.onnx_file import check_external_data
from onnx import TensorProto, numpy_helper

#: Smaller tensors stay in their graph: shapes and axes, which shape inference has to read.
LEAST_BYTES = 1024
#: Where tensors begin. Large ones at a page, so that a runtime can map them without a copy; small ones where any vector
#: register can load from.
_PAGE_FROM_BYTES, _PAGE, _LINE = 64 << 10, 4096, 64


@dataclass(frozen=True)
class Shared:
    """Bytes of the weights of all graphs together, and of the one data file."""

    together: int
    once: int


#: Where bytes lie: the location as the graphs write it, and the offset.
_Place = tuple[str, int]


def share(graphs: Sequence[Path], data: Path, beside: Sequence[Path] = (), source: Path | None = None) -> Shared:
    """Move the weights of `graphs` to the new file `data` in their folder, each content once; the graphs are rewritten.

    What the graphs `beside` have in data files of theirs already is referred to there, and does not go to `data`; they
    are only read. `source` is the folder that the data of `graphs` lies in now, by default their own; there it stays.
    Data files in their own that no graph names any more are deleted; without any new weights of LEAST_BYTES there is no new
    one. Raises PassError when what was written does not read back, OSError when the disk fails.
    """
    before = {file for graph in graphs for file in check_external_data(graph, graph.name)} if source is None else set()
    contents = _Contents(data, beside)
    together = 0
    with data.open("xb") as file:  # never over a graph that is called so
        for graph in graphs:
            model = onnx.load(graph, load_external_data=False)
            for tensor in model.graph.initializer:
                content = _content(tensor, source or graph.parent)
                if content is None:
                    continue
                if content.nbytes < LEAST_BYTES:
                    _inline(tensor, content)
                    continue
                together += content.nbytes
                _refer(tensor, *contents.place(content, file), content.nbytes)
            onnx.save(model, graph)
    _read_back(graphs, contents.digests)
    named = {file for graph in (*graphs, *beside) for file in check_external_data(graph, graph.name)}
    for file_before in before - named:
        file_before.unlink()
    once = data.stat().st_size
    if not once:
        data.unlink()
    return Shared(together, once)


Content = np.ndarray[tuple[int], np.dtype[np.uint8]]


def _content(tensor: TensorProto, folder: Path) -> Content | None:
    """The tensor's bytes as ONNX stores them, mapped where they lie in a file; None for strings."""
    if tensor.data_type == TensorProto.STRING:
        return None
    if tensor.data_location == TensorProto.EXTERNAL:
        entries = {e.key: e.value for e in tensor.external_data}
        path, offset = folder / entries["location"], int(entries.get("offset", 0))
        length = int(entries.get("length", path.stat().st_size - offset))
        if not length:
            return np.zeros(0, np.uint8)
        return np.memmap(path, np.uint8, "r", offset, (length,))
    if not tensor.HasField("raw_data"):  # elements in a field of their type
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return np.frombuffer(tensor.raw_data, np.uint8)


class _Contents:
    """What lies where, by its hash: in `data`, which is being written, or in a data file of the graphs `beside`."""

    def __init__(self, data: Path, beside: Sequence[Path]) -> None:
        self.digests: dict[_Place, bytes] = {}  # of each place that was given
        self._data = data
        self._places: dict[bytes, _Place] = {}
        # By length: the bytes of a large model are read where something new could equal them, and nowhere else.
        self._unread: dict[int, dict[_Place, tuple[TensorProto, Path]]] = {}
        for graph in beside:
            for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
                self._note(tensor, graph.parent)

    def _note(self, tensor: TensorProto, folder: Path) -> None:
        entries = {e.key: e.value for e in tensor.external_data}
        if tensor.data_location != TensorProto.EXTERNAL or "length" not in entries:
            return
        path = folder / entries["location"]
        if path.is_relative_to(self._data.parent):
            place = path.relative_to(self._data.parent).as_posix(), int(entries.get("offset", 0))
            self._unread.setdefault(int(entries["length"]), {})[place] = tensor, folder

    def place(self, content: Content, file: BinaryIO) -> _Place:
        """Where `content` lies; it is appended to `file` when it is new."""
        for place, where in self._unread.pop(content.nbytes, {}).items():
            other = _content(*where)
            if other is not None:
                self._places.setdefault(hashlib.sha256(other.data).digest(), place)
        digest = hashlib.sha256(content.data).digest()
        if digest not in self._places:
            self._places[digest] = self._data.name, _append(content, file)
        place = self._places[digest]
        self.digests[place] = digest
        return place


def _append(content: Content, file: BinaryIO) -> int:
    """Where `content` begins in `file`."""
    align = _PAGE if content.nbytes >= _PAGE_FROM_BYTES else _LINE
    file.write(bytes(-file.tell() % align))
    offset = file.tell()
    file.write(content.data)
    return offset


def _refer(tensor: TensorProto, location: str, offset: int, length: int) -> None:
    tensor.ClearField("raw_data")
    del tensor.external_data[:]
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", str(offset)), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _inline(tensor: TensorProto, content: Content) -> None:
    if tensor.data_location == TensorProto.EXTERNAL:
        raw = content.tobytes()
        del tensor.external_data[:]
        tensor.ClearField("data_location")
        tensor.raw_data = raw


def _read_back(graphs: Sequence[Path], digests: Mapping[_Place, bytes]) -> None:
    """Each reference, followed from the written graph, leads to bytes with the hash that put it there."""
    read: set[tuple[_Place, int]] = set()
    for graph in graphs:
        for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
            if tensor.data_location != TensorProto.EXTERNAL:
                continue
            entries = {e.key: e.value for e in tensor.external_data}
            place = entries["location"], int(entries["offset"])
            where = place, int(entries["length"])
            if where in read:
                continue
            read.add(where)
            content = _content(tensor, graph.parent)
            assert content is not None
            if hashlib.sha256(content.data).digest() != digests.get(place):
                raise PassError(
                    f"{graph.name}: weight {tensor.name} does not read back from {place[0]}; the disk may fail"
                )
