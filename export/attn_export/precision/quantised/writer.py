"""A graph in the making: nodes are replaced, weights added, and what nobody reads any more goes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ...onnx_graph import EXTERNAL_FROM_BYTES


class GraphWriter:
    """Edits `model` in place, whose external weights may still lie on disk."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = model.graph
        self._names = {t.name for t in self.graph.initializer}
        self._before: dict[str, list[onnx.NodeProto]] = {}
        self._instead: dict[str, list[onnx.NodeProto]] = {}

    def weight(self, name: str, value: NDArray[Any], element: int | None = None) -> str:
        """The initializer `name`, made once. `element` is the type of numbers that numpy has no type for: int4 as int8, two a
        byte when they are written."""
        if name not in self._names:
            self._names.add(name)
            self.graph.initializer.append(_tensor(name, value, element))
        return name

    def has(self, name: str) -> bool:
        return name in self._names

    def before(self, node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
        """Put `nodes` in front of `node`."""
        self._before.setdefault(node.name, []).extend(nodes)

    def replace(self, node: onnx.NodeProto, nodes: Sequence[onnx.NodeProto]) -> None:
        """Put `nodes`, which make what `node` makes, in its place, with what is known of where it came from."""
        for new in nodes:
            new.metadata_props.extend(node.metadata_props)
        self._instead[node.name] = list(nodes)

    def finish(self) -> onnx.ModelProto:
        """The model with the nodes in order, and without weights that no node reads."""
        nodes: list[onnx.NodeProto] = []
        for node in self.graph.node:
            nodes.extend(self._before.get(node.name, ()))
            nodes.extend(self._instead.get(node.name, [node]))
        del self.graph.node[:]
        self.graph.node.extend(nodes)
        drop_unread(self.graph)
        return self.model


def _tensor(name: str, value: NDArray[Any], element: int | None) -> TensorProto:
    if element is None:
        return numpy_helper.from_array(np.ascontiguousarray(value), name)
    if element == TensorProto.INT4:
        return TensorProto(
            name=name, data_type=element, dims=value.shape, raw_data=pack_int4(value.reshape(-1)).tobytes()
        )
    return TensorProto(name=name, data_type=element, dims=value.shape, raw_data=np.ascontiguousarray(value).tobytes())


def pack_int4(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Two numbers of -8..7 a byte along the last axis, the first in its lower half, as ONNX stores INT4."""
    if values.shape[-1] % 2:
        values = np.concatenate([values, np.zeros((*values.shape[:-1], 1), values.dtype)], axis=-1)
    nibbles = values.astype(np.uint8) & 0xF
    return np.asarray(nibbles[..., ::2] | (nibbles[..., 1::2] << 4), np.uint8)


def drop_unread(graph: onnx.GraphProto) -> None:
    """Take out nodes and weights that nothing reads any more, bodies of If, Loop and Scan included in what reads."""
    outputs = {o.name for o in graph.output}
    while True:
        read = outputs | set(read_names(graph.node))
        idle = [n for n in graph.node if not any(name in read for name in n.output)]
        if not idle:
            break
        gone = {id(n) for n in idle}
        kept_nodes = [n for n in graph.node if id(n) not in gone]
        del graph.node[:]
        graph.node.extend(kept_nodes)
    kept = [t for t in graph.initializer if t.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def read_names(nodes: Collection[onnx.NodeProto]) -> list[str]:
    """What these nodes read, and what the bodies in them read or hand out."""
    found: list[str] = []
    for node in nodes:
        found.extend(node.input)
        for attribute in node.attribute:
            for body in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                found.extend(o.name for o in body.output)
                found.extend(read_names(body.node))
    return found


def set_opset(model: onnx.ModelProto, domain: str, version: int) -> None:
    """Declare that operators of `domain` are used, at `version` or later."""
    for entry in model.opset_import:
        if entry.domain == domain:
            entry.version = max(entry.version, version)
            return
    model.opset_import.append(helper.make_opsetid(domain, version))


def save(model: onnx.ModelProto, source_folder: Path, path: Path) -> None:
    """Write `model`, whose external weights lie in `source_folder`; large ones to `path`.data."""
    onnx.load_external_data_for_model(model, str(source_folder))
    if sum(len(t.raw_data) for t in model.graph.initializer) >= EXTERNAL_FROM_BYTES:
        onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=1024)
    else:
        onnx.save(model, path)
