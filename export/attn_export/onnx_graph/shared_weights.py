"""The weights of several graphs, once: what is equal in content lies at one place of one data file beside them.

Views of one module share parameters, but each ONNX file is captured with a copy of its own. Equal bytes are found by
their hash, whatever the tensors are called.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
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


def share(graphs: Sequence[Path], data: Path) -> Shared:
    """Move the weights of `graphs` to the new file `data` in their folder, each content once; the graphs are rewritten.

    Data files that they had, and no graph names any more, are deleted; without any weights of LEAST_BYTES there is no new
    one. Raises PassError when what was written does not read back, OSError when the disk fails.
    """
    before = {file for graph in graphs for file in check_external_data(graph, graph.name)}
    places: dict[bytes, int] = {}
    together = 0
    with data.open("wb") as file:
        for graph in graphs:
            model = onnx.load(graph, load_external_data=False)
            for tensor in model.graph.initializer:
                content = _content(tensor, graph.parent)
                if content is None:
                    continue
                if content.nbytes < LEAST_BYTES:
                    _inline(tensor, content)
                    continue
                together += content.nbytes
                _refer(tensor, data.name, _place(content, places, file), content.nbytes)
            onnx.save(model, graph)
    _read_back(graphs, data, places)
    named = {file for graph in graphs for file in check_external_data(graph, graph.name)}
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


def _place(content: Content, places: dict[bytes, int], file: BinaryIO) -> int:
    """Where `content` lies in `file`; it is appended when it is new."""
    digest = hashlib.sha256(content.data).digest()
    if digest not in places:
        align = _PAGE if content.nbytes >= _PAGE_FROM_BYTES else _LINE
        file.write(bytes(-file.tell() % align))
        places[digest] = file.tell()
        file.write(content.data)
    return places[digest]


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


def _read_back(graphs: Sequence[Path], data: Path, places: dict[bytes, int]) -> None:
    """Each reference, followed from the written graph, leads to bytes with the hash that put it there."""
    by_offset = {offset: digest for digest, offset in places.items()}
    read: set[tuple[int, int]] = set()
    for graph in graphs:
        for tensor in onnx.load(graph, load_external_data=False).graph.initializer:
            entries = {e.key: e.value for e in tensor.external_data}
            if tensor.data_location != TensorProto.EXTERNAL or entries["location"] != data.name:
                continue
            where = int(entries["offset"]), int(entries["length"])
            if where in read:
                continue
            read.add(where)
            content = _content(tensor, graph.parent)
            assert content is not None
            if hashlib.sha256(content.data).digest() != by_offset.get(where[0]):
                raise PassError(
                    f"{graph.name}: weight {tensor.name} does not read back from {data.name}; the disk may fail"
                )
