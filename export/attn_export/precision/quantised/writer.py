"""A graph in the making: nodes are replaced, weights added, and what nobody reads any more goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.errors import PassError
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from ...onnx_graph import EXTERNAL_FROM_BYTES, save_proto, share
from ..typed import bodies_of, reads

#: Of opset 21, which is the newest that any of this needs.
_IR_VERSION = 10
#: Operators whose nodes stay valid in the opset given here and mean something else, or need what they did not.
_MEANING_CHANGED = {"Hardmax": 13, "LogSoftmax": 13, "Softmax": 13, "RoiAlign": 16, "Split": 18, "GridSample": 20,
                    "GroupNormalization": 21}  # fmt: skip


class GraphWriter:
    """Edits `model` in place, whose external weights may still lie on disk."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.graph = model.graph
        self._taken = _all_names(self.graph)
        self._own: dict[str, str] = {}
        self._made: set[str] = set()
        self._before: dict[str, list[onnx.NodeProto]] = {}
        self._instead: dict[str, list[onnx.NodeProto]] = {}

    def own(self, name: str) -> str:
        """A name of this writer's for `name`, the same each time: another where the graph has it, as one that was quantised
        before in part."""
        if name not in self._own:
            free = name
            while free in self._taken:
                free += "_"
            self._taken.add(free)
            self._own[name] = free
        return self._own[name]

    def weight(self, name: str, value: NDArray[Any], element: int | None = None) -> str:
        """The initializer `own(name)`, made once. `element` is the type of numbers that numpy has no type for: int4 as int8,
        two a byte when they are written."""
        made = self.own(name)
        if made not in self._made:
            self._made.add(made)
            self.graph.initializer.append(_tensor(made, value, element))
        return made

    def has(self, name: str) -> bool:
        """Whether `weight` made the initializer `name`."""
        return name in self._made

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


def _all_names(graph: onnx.GraphProto) -> set[str]:
    """Of tensors and nodes, those in bodies included."""
    names = {t.name for t in (*graph.input, *graph.initializer)}
    for node in graph.node:
        names.update(node.output, [node.name])
        for body in bodies_of(node):
            names |= _all_names(body)
    return names


def _tensor(name: str, value: NDArray[Any], element: int | None) -> TensorProto:
    if element is None:
        # Not ascontiguousarray, which gives a scalar an axis.
        return numpy_helper.from_array(np.asarray(value, order="C"), name)
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
        read = outputs | {name for node in graph.node for name in reads(node)}
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


def set_opset(model: onnx.ModelProto, domain: str, version: int) -> None:
    """Declare that operators of `domain` ("" is ONNX's own) are used, at `version` or later.

    Raises PassError where the graph's nodes would mean something else then.
    """
    for entry in model.opset_import:
        if entry.domain == domain or (entry.domain == "ai.onnx" and not domain):
            if entry.version < version:
                if not domain:
                    _check_rising(model.graph, entry.version, version)
                    model.ir_version = max(model.ir_version, _IR_VERSION)
                entry.version = version
            return
    model.opset_import.append(helper.make_opsetid(domain, version))


def _check_rising(graph: onnx.GraphProto, old: int, new: int) -> None:
    """PassError for a node that an operator set of `new` refuses, or reads otherwise."""
    for node in graph.node:
        for body in bodies_of(node):
            _check_rising(body, old, new)
        if node.domain not in ("", "ai.onnx"):
            continue
        schema = onnx.defs.get_schema(node.op_type, new, "")
        told = {attribute.name for attribute in node.attribute}
        required = {name for name, attribute in schema.attributes.items() if attribute.required}
        otherwise = old < _MEANING_CHANGED.get(node.op_type, 0) <= new
        if otherwise or told - set(schema.attributes) or required - told or schema.deprecated:
            raise PassError(
                f"node {node.name} ({node.op_type}) of opset {old} is written otherwise in opset {new}, which quantised "
                f"weights of this kind need; export with --opset {new} or later"
            )


def save(model: onnx.ModelProto, source_folder: Path, path: Path) -> None:
    """Write `model`. External weights, which lie in `source_folder`, are copied to `path`.data one at a time, and all others of
    a thousand bytes with them: the model is never held whole."""
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)  # an earlier choice's
    if all(tensor.data_location != TensorProto.EXTERNAL for tensor in model.graph.initializer):
        save_proto(model, path, sum(len(t.raw_data) for t in model.graph.initializer) >= EXTERNAL_FROM_BYTES)
        return
    onnx.save(model, path)
    share([path], data, source=source_folder)
