"""Writes a block as `trt_plan` decided: new nodes before and behind it; its own nodes and their names stay.

Every new node carries the metadata of the node that it serves, so that a report still names the PyTorch module.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from ..onnx_graph import Size, shape_of
from .match import Match
from .trt_plan import TrtRewritePlan, side_inputs

_LOWEST_OPSET = 13  # Unsqueeze takes its axes as an input from here on


def opset_problem(opset: int) -> str:
    """Why the rewrite can't work on a graph of this opset; empty when it can."""
    return "" if opset >= _LOWEST_OPSET else f"it needs opset {_LOWEST_OPSET} or later, and the graph has {opset}"


class Rewriter:
    """Rewrites blocks of one model's main graph, in place."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph
        self._names = {node.name for node in graph.all_nodes()} | set(ir.convenience.create_value_mapping(graph))
        self._constants: dict[tuple[int, ...], ir.Value] = {}

    def rewrite(self, match: Match, plan: TrtRewritePlan) -> None:
        """Change the nodes of one block, and put new ones around them."""
        scores, values = match.scores.node, match.values.node
        by_columns = match.values.side == 0  # the values stand on the left: [..., Dv, keys]
        q = _Chain(self, scores, "queries", match.queries)
        k = _Chain(self, scores, "keys", match.keys)
        v = _Chain(self, values, "values", match.value)
        for chain in (q, k):
            chain.add_head_axis(plan.rank)
        q.pad(4, 3, plan.size - plan.head_size)
        k.pad(4, 2, plan.size - plan.head_size)
        v.pad(plan.rank, plan.rank - (2 if by_columns else 1), plan.width - plan.value_size)
        length = None
        if plan.split is not None:
            length = self._split_queries(q, plan.split)
            q.reshape(0, 2, -1, plan.size)
            k.add("Expand", self.sizes(1, 2, 1, 1))
        elif plan.parts > 1:
            q.repeat(plan, -1, plan.size)
            k.repeat(plan, plan.size, -1)
        self._values(v, plan, by_columns)
        weights = self._scores_to_weights(match, plan)
        for node, inputs in ((scores, (q.value, k.value)), (values, (weights, v.value))):
            for number, value in enumerate(inputs):
                node.replace_input_with(number, value)
        self._merge_heads(values, plan, by_columns, length)

    def _values(self, v: _Chain, plan: TrtRewritePlan, by_columns: bool) -> None:
        """To [batch, heads * parts, keys, size]."""
        if plan.parts == 1:
            v.add_head_axis(plan.rank)
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

    def _scores_to_weights(self, match: Match, plan: TrtRewritePlan) -> ir.Value:
        """Scores have rank 4 now: give masks of rank 3 an axis of heads, count the softmax's axis from behind, and leave
        the weights as the softmax gives them. Returns the weights."""
        if "axis" in match.softmax.attributes:
            match.softmax.attributes.add(ir.AttrInt64("axis", -1))
        masks = [v for v in side_inputs(match) if len(shape_of(v) or ()) == 3] if plan.rank == 3 else []
        for mask in dict.fromkeys(masks):
            readers = [use for use in mask.uses() if use.node in (*match.above, *match.below)]
            chain = _Chain(self, min((use.node for use in readers), key=match.nodes.index), "mask", mask)
            chain.add_head_axis(3)
            for node, number in readers:
                node.replace_input_with(number, chain.value)
        for node in match.nodes[:-1]:  # what was declared of these is no longer so
            for value in node.outputs:
                value.type = value.shape = None
        weights = match.softmax.outputs[0]
        for node in match.below:
            if node.op_type == "Transpose":
                node.outputs[0].replace_all_uses_with(weights)
                self.graph.remove(node, safe=True)
            else:
                weights = node.outputs[0]
        return weights

    def _split_queries(self, q: _Chain, number: Size) -> ir.Value | None:
        """Make the number of queries even, by a row of zeros. Returns what holds the old number, None when there is nothing
        to cut off again."""
        if isinstance(number, int):
            q.pad(4, 2, number % 2)
            return self.sizes(number) if number % 2 else None
        four = q.value
        length = q.side("Shape", four, start=2, end=3)
        odd = q.side("Mod", length, self.sizes(2))
        q.add("Pad", q.side("Concat", self.sizes(*[0] * 6), odd, self.sizes(0), axis=0))
        return length

    def _merge_heads(self, values: ir.Node, plan: TrtRewritePlan, by_columns: bool, length: ir.Value | None) -> None:
        """Put the heads together again, under the name that the block's result had."""
        result = values.outputs[0]
        readers = result.uses()
        o = _Chain(self, values, "output", result, behind=True)
        rows_last = plan.rank - 2
        turn = [*range(rows_last), plan.rank - 1, rows_last]
        if plan.split is not None:
            o.reshape(*plan.leading, -1, plan.width)
            if length is not None:
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
        if o.value is result:
            return
        for node, number in readers:
            node.replace_input_with(number, o.value)
        outputs = self.graph.outputs
        outputs[:] = [o.value if value is result else value for value in outputs]
        o.value.name, result.name = result.name, self.fresh(f"{result.name}_heads")
        o.value.type, o.value.shape, result.type, result.shape = result.type, result.shape, None, None
        o.value.meta.update(result.meta)

    def sizes(self, *numbers: int) -> ir.Value:
        """A constant of integers."""
        if numbers not in self._constants:
            name = self.fresh(f"attention_sizes_{'_'.join(map(str, numbers)).replace('-', 'm')}")
            self._constants[numbers] = ir.val(name, const_value=ir.tensor(numbers, ir.DataType.INT64, name))
            self.graph.register_initializer(self._constants[numbers])
        return self._constants[numbers]

    def fresh(self, name: str) -> str:
        number, free = 0, name
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free


class _Chain:
    """New nodes, one behind the other, that serve the node `served`, before or behind it; `value` is the tensor so far."""

    def __init__(self, owner: Rewriter, served: ir.Node, role: str, value: ir.Value, behind: bool = False) -> None:
        self.owner, self.served, self.role, self.value = owner, served, role, value
        self._last = served if behind else None

    def add(self, operator: str, *constants: ir.Value, **attributes: Any) -> None:
        """Go on through `operator`."""
        self.value = self.side(operator, self.value, *constants, **attributes)

    def side(self, operator: str, *inputs: ir.Value, **attributes: Any) -> ir.Value:
        """A node that the chain does not go on through; its output."""
        name = self.owner.fresh(f"{self.served.name or self.served.outputs[0].name}_{self.role}_{operator.lower()}")
        made = ir.Value(name=f"{name}_output")
        props = dict(self.served.metadata_props)
        node = ir.node(operator, inputs, attributes, outputs=[made], name=name, metadata_props=props)
        if self._last is None:
            self.served.prepend(node)
        else:
            self._last.append(node)
            self._last = node
        return made

    def add_head_axis(self, rank: int) -> None:
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
