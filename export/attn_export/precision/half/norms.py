"""Statistics of norms that are written out: the mean of squares, its root, and what is divided by it.

A square overflows float16 beyond 256, and each rounding of a root moves all elements of its row the same way, where other
roundings cancel out. RMSNorm and LayerNorm of transformers compute this in float32 whatever the model's type is and round what
they have normalized; so does LayerNormalization of ONNX (its stash_type), and so does every typed graph. What is behind,
the weight and the bias, is in the type.
"""

from __future__ import annotations

import onnx

from ..typed import MOVES, readers_of

_MEANS = frozenset({"ReduceMean", "ReduceSum"})
#: From the mean of squares to what the elements are divided by: with constants, one number at a time.
_TO_THE_ROOT = frozenset({"Add", "Clip", "Div", "Max", "Mul", "Pow", "Reciprocal", "Sqrt"}) | MOVES


def statistics(model: onnx.ModelProto) -> set[str]:
    """The names of nodes of the main graph that compute such statistics, and of those that divide by them."""
    return _Norms(model.graph).found


class _Norms:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self._made = {name: node for node in graph.node for name in node.output if name}
        self._readers = readers_of(graph)
        self._constants = {t.name for t in graph.initializer}
        self._constants |= {node.output[0] for node in graph.node if node.op_type == "Constant"}
        self.found: set[str] = set()
        for node in graph.node:
            if node.op_type in _MEANS and (squares := self._squares(node.input[0])) is not None:
                self._norm(node, squares)

    def _norm(self, mean: onnx.NodeProto, squares: onnx.NodeProto) -> None:
        """Take the norm in whose middle `mean` is the mean of `squares`; nothing where none of its elements are divided by it."""
        elements = squares.input[0]
        whole = self._centred(elements)
        if not (ends := self._down(mean.output[0], whole or elements)):
            return
        self.found |= {mean.name, squares.name, *ends}
        for node in self._readers[whole] if whole else ():
            if self._centred(node.output[0]) == whole:
                self.found |= {node.name, self._made[node.input[1]].name}

    def _squares(self, name: str) -> onnx.NodeProto | None:
        node = self._made.get(name)
        if node is None or len(node.input) != 2:
            return None
        twice = node.op_type == "Mul" and node.input[0] == node.input[1]
        return node if twice or (node.op_type == "Pow" and node.input[1] in self._constants) else None

    def _centred(self, name: str) -> str | None:
        """What `name` is the distance of from its mean, if it is one."""
        node = self._made.get(name)
        if node is None or node.op_type != "Sub":
            return None
        mean = self._made.get(node.input[1])
        given = mean is not None and mean.op_type in _MEANS and mean.input[0] == node.input[0]
        return node.input[0] if given else None

    def _down(self, name: str, whole: str) -> set[str]:
        """The nodes from the mean `name` to those that divide `whole`, or its distance from its mean, by its root."""
        found: set[str] = set()
        for node in self._readers.get(name, ()):
            others = [other for other in node.input if other and other != name]
            if node.op_type in ("Mul", "Div") and any(whole in (other, self._centred(other)) for other in others):
                found.add(node.name)
            elif node.op_type in _TO_THE_ROOT and all(other in self._constants for other in others):
                further = self._down(node.output[0], whole)
                found |= further | ({node.name} if further else set())
        return found
