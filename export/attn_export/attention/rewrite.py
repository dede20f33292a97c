"""Writes a block as `attention_plan` decided: new nodes before and behind it, its own nodes and their names kept.

Every new node carries the metadata of the node that it serves, so that a report still names the PyTorch module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..onnx_graph.graph_index import Size
from .match import Match
from .trt_plan import TrtRewritePlan, beside

_LOWEST_OPSET = 13  # Unsqueeze takes its axes as an input from here on


def opset_of(model: onnx.ModelProto) -> int:
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def opset_problem(opset: int) -> str:
    """Why the rewrite can't work on a graph of this opset; empty when it can."""
    return "" if opset >= _LOWEST_OPSET else f"it needs opset {_LOWEST_OPSET} or later, and the graph has {opset}"


class Rewriter:
    """Rewrites blocks of one model's main graph, in place."""

    def __init__(self, model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto]) -> None:
        """`nodes` are those of the model's graph, the very objects that the matches hold."""
        self.graph = model.graph
        self._nodes = nodes
        self._names = {n.name for n in model.graph.node}
        self._names |= {name for n in model.graph.node for name in (*n.input, *n.output)}
        self._names |= {t.name for t in model.graph.initializer}
        self._constants: dict[tuple[int, ...], str] = {}
        self._before: dict[int, list[onnx.NodeProto]] = {}
        self._after: dict[int, list[onnx.NodeProto]] = {}
        self._gone: set[int] = set()
        self._stale: set[str] = set()

    def rewrite(self, match: Match, plan: TrtRewritePlan) -> None:
        """Change the nodes of one block; `finish` puts the new ones into the graph."""
        scores, values = match.scores.node, match.values.node
        by_columns = match.values.side == 0  # the values stand on the left: [..., Dv, keys]
        q = _Chain(self, scores, "queries", match.queries, self._before)
        k = _Chain(self, scores, "keys", match.keys, self._before)
        v = _Chain(self, values, "values", match.value, self._before)
        for chain in (q, k):
            chain.lift(plan.rank)
        q.pad(4, 3, plan.size - plan.head_size)
        k.pad(4, 2, plan.size - plan.head_size)
        v.pad(plan.rank, plan.rank - (2 if by_columns else 1), plan.width - plan.value_size)
        length = ""
        if plan.split is not None:
            length = self._deal_queries(q, plan.split)
            q.reshape(0, 2, -1, plan.size)
            k.add("Expand", self.sizes(1, 2, 1, 1))
        elif plan.parts > 1:
            q.repeat(plan, -1, plan.size)
            k.repeat(plan, plan.size, -1)
        self._values(v, plan, by_columns)
        weights = self._between(match, plan)
        scores.input[:] = [q.name, k.name]
        values.input[:] = [weights, v.name]
        self._behind(values, plan, by_columns, length)

    def _values(self, v: _Chain, plan: TrtRewritePlan, by_columns: bool) -> None:
        """To [batch, heads * parts, keys, size]."""
        if plan.parts == 1:
            v.lift(plan.rank)
            if by_columns:
                v.add("Transpose", perm=[0, 1, 3, 2])
            if plan.split is not None:
                v.add("Expand", self.sizes(1, 2, 1, 1))
            return
        batch = 1 if plan.rank == 2 else 0
        if plan.heads == 1 and not by_columns:
            v.reshape(batch, -1, plan.parts, plan.size)
            v.add("Transpose", perm=[0, 2, 1, 3])
            return
        if not by_columns:
            v.add("Transpose", perm=[0, 1, 3, 2])
        v.reshape(batch, plan.heads * plan.parts, plan.size, -1)
        v.add("Transpose", perm=[0, 1, 3, 2])

    def _between(self, match: Match, plan: TrtRewritePlan) -> str:
        """Scores have rank 4 now: give masks of rank 3 an axis of heads, count the softmax's axis from behind, and leave
        the weights as the softmax gives them. Returns their name."""
        for node in match.nodes:
            self._stale.update(node.output)
        for attribute in match.softmax.attribute:
            if attribute.name == "axis":
                attribute.i = -1
        renamed: dict[str, str] = {}
        masks = set(beside(match)) if plan.rank == 3 else set()
        weights = str(match.softmax.output[0])
        for node in (*match.above, *match.below):
            for name in node.input:
                if name in masks and name not in renamed and len(match.view.shape(name) or ()) == 3:
                    chain = _Chain(self, node, "mask", name, self._before)
                    chain.lift(3)
                    renamed[name] = chain.name
            if node.op_type == "Transpose":
                self._gone.add(id(node))
                renamed[node.output[0]] = weights
                continue
            node.input[:] = [renamed.get(name, name) for name in node.input]
            if any(node is n for n in match.below):
                weights = str(node.output[0])
        return weights

    def _deal_queries(self, q: _Chain, number: Size) -> str:
        """Make the number of queries even, by a row of zeros. Returns the constant or tensor that holds the old number,
        "" when there is nothing to cut off again."""
        if isinstance(number, int):
            q.pad(4, 2, number % 2)
            return self.sizes(number) if number % 2 else ""
        four = q.name
        length = q.side("Shape", four, start=2, end=3)
        odd = q.side("Mod", length, self.sizes(2))
        q.add("Pad", q.side("Concat", self.sizes(*[0] * 6), odd, self.sizes(0), axis=0))
        return length

    def _behind(self, values: onnx.NodeProto, plan: TrtRewritePlan, by_columns: bool, length: str) -> None:
        """Put the heads together again, under the name that the block's result had."""
        result = values.output[0]
        values.output[0] = self.fresh(f"{result}_heads")
        o = _Chain(self, values, "output", values.output[0], self._after)
        rows_last = plan.rank - 2
        turn = [*range(rows_last), plan.rank - 1, rows_last]
        if plan.split is not None:
            o.reshape(*plan.leading, -1, plan.width)
            if length:
                o.add("Slice", self.sizes(0), length, self.sizes(rows_last))
            if by_columns:
                o.add("Transpose", perm=turn)
        elif plan.parts > 1 and plan.heads == 1 and not by_columns:
            o.add("Transpose", perm=[0, 2, 1, 3])
            o.reshape(*plan.leading, -1, plan.width)
        elif plan.parts > 1 or by_columns:
            o.add("Transpose", perm=[0, 1, 3, 2])
            o.reshape(*plan.leading, plan.width, -1)
            if not by_columns:
                o.add("Transpose", perm=turn)
        elif plan.rank < 4:
            o.reshape(*plan.leading, -1, plan.width)
        if plan.width != plan.value_size:
            o.add("Slice", self.sizes(0), self.sizes(plan.value_size), self.sizes(plan.rank - (2 if by_columns else 1)))
        if o.name == values.output[0]:
            values.output[0] = result
        else:
            o.rename(result)

    def finish(self) -> None:
        """Put the graph together: every new node just before or behind the one that it serves."""
        ordered: list[onnx.NodeProto] = []
        for node in self._nodes:
            ordered.extend(self._before.get(id(node), []))
            if id(node) not in self._gone:
                ordered.append(node)
            ordered.extend(self._after.get(id(node), []))
        copies = [onnx.NodeProto() for _ in ordered]
        for copy, node in zip(copies, ordered, strict=True):
            copy.CopyFrom(node)
        del self.graph.node[:]
        self.graph.node.extend(copies)
        kept = [v for v in self.graph.value_info if v.name not in self._stale]
        del self.graph.value_info[:]
        self.graph.value_info.extend(kept)

    def sizes(self, *numbers: int) -> str:
        """The name of a constant of integers."""
        if numbers not in self._constants:
            name = self.fresh(f"attention_sizes_{'_'.join(map(str, numbers)).replace('-', 'm')}")
            self.graph.initializer.append(numpy_helper.from_array(np.asarray(numbers, np.int64), name))
            self._constants[numbers] = name
        return self._constants[numbers]

    def fresh(self, name: str) -> str:
        number, found = 0, name
        while found in self._names:
            number += 1
            found = f"{name}_{number}"
        self._names.add(found)
        return found


class _Chain:
    """New nodes, one behind the other, that serve the node `beside`; `name` is the tensor so far."""

    def __init__(
        self, owner: Rewriter, served: onnx.NodeProto, role: str, name: str, place: dict[int, list[onnx.NodeProto]]
    ) -> None:
        self.owner, self.served, self.role, self.name = owner, served, role, name
        self._nodes = place.setdefault(id(served), [])

    def add(self, operator: str, *constants: str, perm: Sequence[int] | None = None) -> None:
        """Go on through `operator`."""
        self.name = self.side(operator, self.name, *constants, perm=perm)

    def side(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """A node that the chain does not go on through; its output."""
        name = self.owner.fresh(f"{self.served.name or self.served.output[0]}_{self.role}_{operator.lower()}")
        node = helper.make_node(operator, list(inputs), [f"{name}_output"], name=name, **attributes)
        node.metadata_props.extend(self.served.metadata_props)
        self._nodes.append(node)
        return f"{name}_output"

    def lift(self, rank: int) -> None:
        """To rank 4, with an axis of one head."""
        if rank < 4:
            self.add("Unsqueeze", self.owner.sizes(*((1,) if rank == 3 else (0, 1))))

    def pad(self, rank: int, axis: int, elements: int) -> None:
        """Zeros behind the last element of an axis."""
        if elements:
            ends = [0] * (2 * rank)
            ends[rank + axis] = elements
            self.add("Pad", self.owner.sizes(*ends))

    def reshape(self, *shape: int) -> None:
        self.add("Reshape", self.owner.sizes(*shape))

    def repeat(self, plan: TrtRewritePlan, *matrix: int) -> None:
        """[batch, heads, ...] -> [batch, heads * parts, ...], each head `parts` times in a row; `matrix` is the rest."""
        if plan.heads == 1:
            self.add("Expand", self.owner.sizes(1, plan.parts, 1, 1))
            return
        self.add("Unsqueeze", self.owner.sizes(2))
        self.add("Expand", self.owner.sizes(1, 1, plan.parts, 1, 1))
        self.reshape(0, plan.heads * plan.parts, *matrix)

    def rename(self, name: str) -> None:
        """Give the last tensor this name."""
        self._nodes[-1].output[0] = name
        self.name = name
