"""What of a graph can be quantised: products with a constant weight, and tables that rows are looked up in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import onnx
from onnx import TensorProto

#: A smaller weight gains nothing: its scales and the nodes around it take more than it gives.
LEAST_ELEMENTS = 1024
#: The names of ONNX's own domain.
_ONNX = ("", "ai.onnx")


@dataclass(frozen=True)
class Site:
    """One node of the main graph and its weight, seen as a matrix [K, N]: activations [..., K] times it are [..., N].

    weight      the initializer
    stored_nk   whether it is stored [N, K] (Gemm's transB, a head tied to its embedding, a convolution's [O, I/g * kh * kw], a
                table [rows = N, K])
    activation  what it is multiplied with; "" for a table
    shape       as it is stored
    k, n        elements; of a table, the width of a row and the number of rows
    """

    node: str
    operator: str
    weight: str
    stored_nk: bool
    activation: str
    shape: tuple[int, ...]
    k: int
    n: int

    @property
    def elements(self) -> int:
        return self.k * self.n

    @property
    def matrix(self) -> str:
        """A name of the weight as this matrix: one weight is two where one product takes it as it is stored and one turned."""
        return f"{self.weight}/{'nk' if self.stored_nk else 'kn'}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Site:
        return cls(**{**entry, "shape": tuple(entry["shape"])})


def find_sites(model: onnx.ModelProto, operators: Collection[str]) -> list[Site]:
    """The sites among nodes of these `operators` (of MatMul, Gemm, Conv, Gather), in the graph's order.

    A weight that is an input too is none: who calls the graph may give another.
    """
    return list(_sites(model.graph, frozenset(operators)))


def _sites(graph: onnx.GraphProto, operators: Collection[str]) -> Iterator[Site]:
    given = {i.name for i in graph.input}
    weights = {t.name: t for t in graph.initializer if t.data_type == TensorProto.FLOAT and t.name not in given}
    made = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type not in operators or node.domain not in _ONNX or len(node.input) < 2:
            continue
        table = node.op_type == "Gather"
        name, turned = _constant(node.input[0] if table else node.input[1], weights, made)
        if name is None or (not table and _constant(node.input[0], weights, made)[0]):
            continue
        shape = list(weights[name].dims)
        matrix = _matrix(node, shape, turned)
        if matrix is None or matrix[0] * matrix[1] < LEAST_ELEMENTS:
            continue
        k, n, stored_nk = matrix
        activation = "" if table else node.input[0]
        yield Site(node.name, node.op_type, name, stored_nk, activation, tuple(shape), k, n)


def _constant(name: str, weights: dict[str, TensorProto], made: dict[str, onnx.NodeProto]) -> tuple[str | None, bool]:
    """The initializer that `name` is, and whether a Transpose of two axes lies between them."""
    if name in weights:
        return name, False
    node = made.get(name)
    if node is None or node.domain not in _ONNX or node.op_type not in ("Transpose", "Identity"):
        return None, False
    if node.input[0] not in weights:
        return None, False
    if node.op_type == "Identity":
        return node.input[0], False
    perm = next((list(a.ints) for a in node.attribute if a.name == "perm"), [1, 0])
    return (node.input[0], True) if perm == [1, 0] else (None, False)


def _matrix(node: onnx.NodeProto, shape: list[int], turned: bool) -> tuple[int, int, bool] | None:
    """(K, N, stored [N, K]) of the weight; None for one that is no single matrix."""
    attributes = {a.name: a for a in node.attribute}
    if node.op_type == "Conv":
        k = 1
        for size in shape[1:]:
            k *= size
        return (k, shape[0], True) if len(shape) >= 3 and not turned else None
    if len(shape) != 2:
        return None
    if node.op_type == "Gather":
        axis = attributes["axis"].i if "axis" in attributes else 0
        return (shape[1], shape[0], True) if axis in (0, -2) and not turned else None
    if node.op_type == "Gemm":
        for scale in ("alpha", "beta"):
            if scale in attributes and attributes[scale].f != 1.0:
                return None
        if "transA" in attributes and attributes["transA"].i:
            return None
        turned ^= bool("transB" in attributes and attributes["transB"].i)
    return (shape[1], shape[0], True) if turned else (shape[0], shape[1], False)
