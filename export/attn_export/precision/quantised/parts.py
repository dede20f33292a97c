"""A product of queries, keys and values in one, cut into three: TensorRT-RTX multiplies the joint one in float16, whatever it is
quantised to, and three in int8 or fp8, as one kernel with fused attention behind them (docs/use/engines.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ..typed import TensorTypes, tensor_types
from .rounding import Blocks
from .sites import Site
from .weights import Weights, key


@dataclass(frozen=True)
class _Joint:
    """product -> Add of a bias -> Reshape -> Split along the last axis; the two between may be missing.

    sizes   of the parts, along the columns of the weight
    """

    product: onnx.NodeProto
    between: tuple[onnx.NodeProto, ...]
    split: onnx.NodeProto
    sizes: tuple[int, ...]


def cut_products(
    model: onnx.ModelProto, folder: Path, sites: Sequence[Site], weights: Weights
) -> tuple[list[Site], Weights]:
    """Cut the products among `sites` whose result is split along its columns, in place: the sites and weights that come of it.

    `folder` holds the model's external data. Columns have scales of their own, so that no number changes.
    """
    by_node = {site.node: site for site in sites}
    cutter = _Cutter(model, folder)
    found: list[Site] = []
    blocks = dict(weights.found)
    for node in list(model.graph.node):
        site = by_node.get(node.name)
        if site is None:
            continue
        joint = cutter.joint(node, site)
        if joint is None:
            found.append(site)
            continue
        for part, (start, end) in zip(cutter.cut(joint, site), _ends(joint.sizes), strict=True):
            whole = weights.of(site)
            blocks[key(part)] = Blocks(whole.q[:, start:end], whole.scales[:, start:end], whole.block)
            found.append(part)
    return found, replace(weights, found=blocks)


def _ends(sizes: Sequence[int]) -> list[tuple[int, int]]:
    ends = np.cumsum([0, *sizes]).tolist()
    return list(pairwise(ends))


class _Cutter:
    def __init__(self, model: onnx.ModelProto, folder: Path) -> None:
        self._graph, self._folder = model.graph, str(folder)
        self._types: TensorTypes = tensor_types(model)
        self._stored = {tensor.name: tensor for tensor in model.graph.initializer}
        self._outputs = {output.name for output in model.graph.output}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def joint(self, node: onnx.NodeProto, site: Site) -> _Joint | None:
        """The chain from the product to a Split of its columns; None where it is another."""
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in self._stored:
            return None
        between: list[onnx.NodeProto] = []
        name = node.output[0]
        while (reader := self._only_reader(name)) is not None and len(between) <= 2:
            if reader.op_type == "Split":
                sizes = self._sizes(reader, name, site.n)
                return None if sizes is None else _Joint(node, tuple(between), reader, sizes)
            bias = reader.op_type == "Add" and self._bias(reader, name, site.n) is not None
            if not bias and not (reader.op_type == "Reshape" and self._keeps_columns(reader, site.n)):
                return None
            between.append(reader)
            name = reader.output[0]
        return None

    def cut(self, joint: _Joint, site: Site) -> list[Site]:
        """Put a product for each part in the place of the joint one: their sites."""
        made: list[onnx.NodeProto] = []
        parts: list[Site] = []
        weight = self._value(joint.product.input[1])
        stored_nk = joint.product.op_type == "Gemm" and any(a.name == "transB" and a.i for a in joint.product.attribute)
        for number, (start, end) in enumerate(_ends(joint.sizes)):
            before, value = "", None
            for node in (joint.product, *joint.between):
                new = onnx.NodeProto()
                new.CopyFrom(node)
                new.name, new.output[0] = f"{node.name}/part{number}", f"{node.output[0]}/part{number}"
                if value is not None:
                    new.input[list(node.input).index(before)] = value
                if node is joint.product:
                    piece = weight[start:end] if stored_nk else weight[:, start:end]
                    new.input[1] = self._store(f"{node.name}/part{number}/weight", piece)
                    if len(new.input) > 2 and new.input[2]:
                        bias = self._value(new.input[2])
                        new.input[2] = self._store(f"{node.name}/part{number}/bias", bias[start:end])
                elif node.op_type == "Add":
                    which = self._bias(node, before, site.n)
                    assert which is not None
                    new.input[which] = self._store(f"{new.name}/bias", self._value(node.input[which])[start:end])
                else:
                    shape = self._value(node.input[1]).copy()
                    shape[-1] = -1 if shape[-1] == -1 else end - start
                    new.input[1] = self._store(f"{new.name}/shape", shape)
                before, value = node.output[0], new.output[0]
                made.append(new)
            made[-1].output[0] = joint.split.output[number]
            name = f"{joint.product.name}/part{number}"
            shape_of_part = (end - start, site.k) if stored_nk else (site.k, end - start)
            parts.append(
                replace(
                    site, node=name, weight=f"{name}/weight", stored_nk=stored_nk, shape=shape_of_part, n=end - start
                )
            )
        self._exchange([joint.product, *joint.between, joint.split], made)
        return parts

    def _only_reader(self, name: str) -> onnx.NodeProto | None:
        readers = self._readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self._outputs else None

    def _bias(self, node: onnx.NodeProto, name: str, columns: int) -> int | None:
        """Which input of an Add is a constant of one number per column; None where it is none."""
        for place, other in enumerate(node.input):
            if other != name and other in self._stored and list(self._stored[other].dims) == [columns]:
                return place
        return None

    def _keeps_columns(self, node: onnx.NodeProto, columns: int) -> bool:
        if node.input[1] not in self._stored:
            return False
        shape = self._value(node.input[1]).tolist()
        if shape[-1] == columns:
            return True
        kind = self._types.types.get(node.output[0])
        known = kind is not None and kind.tensor_type.HasField("shape")
        return known and kind is not None and kind.tensor_type.shape.dim[-1].dim_value == columns

    def _sizes(self, split: onnx.NodeProto, name: str, columns: int) -> tuple[int, ...] | None:
        axis = next((a.i for a in split.attribute if a.name == "axis"), 0)
        kind = self._types.types.get(name)
        rank = len(kind.tensor_type.shape.dim) if kind is not None and kind.tensor_type.HasField("shape") else None
        if axis != -1 and (rank is None or axis != rank - 1):
            return None
        if len(split.input) > 1 and split.input[1]:
            if split.input[1] not in self._stored:
                return None
            sizes = [int(n) for n in self._value(split.input[1])]
        else:
            parts = len(split.output)
            if columns % parts:
                return None
            sizes = [columns // parts] * parts
        return tuple(sizes) if sum(sizes) == columns and len(sizes) == len(split.output) else None

    def _value(self, name: str) -> NDArray[np.generic]:
        return numpy_helper.to_array(self._stored[name], self._folder)

    def _store(self, name: str, value: NDArray[np.generic]) -> str:
        tensor = numpy_helper.from_array(np.asarray(value, order="C"), name)
        self._stored[name] = tensor
        self._graph.initializer.append(tensor)
        return name

    def _exchange(self, gone: Sequence[onnx.NodeProto], made: Sequence[onnx.NodeProto]) -> None:
        """`made` in the place of the last of `gone`: what the others read is made before it."""
        names = {node.name for node in gone}
        nodes: list[onnx.NodeProto] = []
        for node in self._graph.node:
            if node.name == gone[-1].name:
                nodes.extend(made)
            elif node.name not in names:
                nodes.append(node)
        del self._graph.node[:]
        self._graph.node.extend(nodes)
