"""Which elements: a slice, an index, a position, a split."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from ...onnx_graph import dtype_of
from ._edit import Add, Change, Edit, attribute, before_input, constant, input_of, new_constant, set_constant

#: A slice that ends here or beyond runs to the end.
_END = 1 << 30
_SLICE_INPUTS = {1: "start", 2: "end"}
_GATHERS = ("Gather", "GatherElements", "GatherND")


def changes(node: ir.Node) -> Iterator[Change]:
    if node.op_type == "Slice":
        for position, name in _SLICE_INPUTS.items():
            yield from _bound(node, position, name)
    if node.op_type in _GATHERS:
        yield from _index(node)
    if node.op_type == "Range":
        yield Change("position", "Range begins one later", _shifted(node, 0, 1, others=(1,)))
        yield Change("position", "Range with twice the step", _doubled(node))
    if node.op_type == "Split" and (sizes := constant(input_of(node, 1))) is not None and len(set(sizes.tolist())) > 1:
        turned = np.roll(sizes, 1)
        yield Change("slice", f"split {sizes.tolist()} -> {turned.tolist()}", set_constant(1, node.inputs[1], turned))
    if node.op_type == "Split" and len(node.outputs) > 1:
        yield Change("slice", "first two parts swapped", _parts_swapped)
    if node.op_type == "Concat" and len(node.inputs) > 1:
        yield Change("slice", "first two parts of Concat swapped", _inputs_swapped)
    if node.op_type == "Pad" and (pads := constant(input_of(node, 1))) is not None and np.any(pads):
        half = len(pads) // 2
        turned = np.concatenate([pads[half:], pads[:half]])
        yield Change("slice", f"padding {pads.tolist()} -> {turned.tolist()}", set_constant(1, node.inputs[1], turned))
    if node.op_type in ("Conv", "AveragePool", "MaxPool") and any(before := attribute(node, "pads", [])):
        yield Change("slice", f"padding {before} one to the left", _pads_moved(before))


def _bound(node: ir.Node, position: int, name: str) -> Iterator[Change]:
    value = input_of(node, position)
    found = constant(value)
    if found is not None and found.size and not np.any(np.abs(found) >= _END):
        for step in (1, -1):
            after = found + step
            what = f"{name} {found.ravel().tolist()} -> {after.ravel().tolist()}"
            yield Change("slice", what, set_constant(position, value, after))
    elif found is not None and position == 2:
        after = np.where(np.abs(found) >= _END, -1, found)
        yield Change("slice", "the last element left out", set_constant(position, value, after))
    elif found is None and value is not None:
        yield Change("slice", f"{name} one less", _shifted(node, position, -1))


def _index(node: ir.Node) -> Iterator[Change]:
    value = input_of(node, 1)
    found = constant(value)
    if found is not None and found.size:
        family = "position" if found.size > 1 else "index"
        for step in (1, -1):
            what = f"index {found.ravel()[0]} -> {found.ravel()[0] + step}" + (" and so on" if found.size > 1 else "")
            yield Change(family, what, set_constant(1, value, found + step))
    elif value is not None:
        yield Change("position", "every index one less (none below 0)", _less_by_one(node))


def _less_by_one(node: ir.Node) -> Edit:
    kind = dtype_of(input_of(node, 1)) or "int64"

    def build(graph: ir.Graph, value: ir.Value, add: Add) -> ir.Value:
        less = add("Sub", value, new_constant(graph, 1, kind))
        return add("Max", less, new_constant(graph, 0, kind))

    return before_input(1, build)


def _shifted(node: ir.Node, position: int, step: int, others: tuple[int, ...] = ()) -> Edit:
    kind = dtype_of(input_of(node, position)) or "int64"

    def build(graph: ir.Graph, value: ir.Value, add: Add) -> ir.Value:
        return add("Add", value, new_constant(graph, step, kind))

    def edit(graph: ir.Graph, copy: ir.Node) -> None:
        for one in (position, *others):
            before_input(one, build)(graph, copy)

    return edit


def _doubled(node: ir.Node) -> Edit:
    kind = dtype_of(input_of(node, 1)) or "int64"

    def build(graph: ir.Graph, value: ir.Value, add: Add) -> ir.Value:
        return add("Mul", value, new_constant(graph, 2, kind))

    def edit(graph: ir.Graph, copy: ir.Node) -> None:
        for position in (1, 2):
            before_input(position, build)(graph, copy)

    return edit


def _parts_swapped(graph: ir.Graph, node: ir.Node) -> None:
    first, second = node.outputs[:2]
    uses = [(user, position, True) for user, position in first.uses()]
    uses += [(user, position, False) for user, position in second.uses()]
    for user, position, of_first in uses:
        user.replace_input_with(position, second if of_first else first)


def _inputs_swapped(graph: ir.Graph, node: ir.Node) -> None:
    first, second = node.inputs[:2]
    node.replace_input_with(0, second)
    node.replace_input_with(1, first)


def _pads_moved(before: list[int]) -> Edit:
    half = len(before) // 2
    after = list(before)
    after[half - 1] += 1
    after[-1] -= 1

    def edit(graph: ir.Graph, node: ir.Node) -> None:
        node.attributes["pads"] = ir.AttrInt64s("pads", after)

    return edit
