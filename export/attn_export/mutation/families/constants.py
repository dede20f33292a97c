"""Numbers in the arithmetic: an epsilon, a scale, an exponent."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import onnx_ir as ir

from ...onnx_graph import dtype_of, is_constant
from ._edit import (
    Add,
    Change,
    attribute,
    become_input,
    before_input,
    input_of,
    new_constant,
    number,
    set_attribute,
    set_constant,
)

#: A positive constant up to here that is added is an epsilon; a number beyond it is arithmetic.
_LARGEST_EPSILON = 1e-2
#: Attributes that scale: ONNX's own operators, and Attention.
_SCALES = {"Gemm": ("alpha", "beta"), "Attention": ("scale", "softcap"), "LeakyRelu": ("alpha",), "Elu": ("alpha",)}
_EPSILON = ("epsilon", "eps")


def changes(node: ir.Node) -> Iterator[Change]:
    yield from _epsilons(node)
    yield from _scales(node)
    if node.op_type == "Pow" and (power := number(input_of(node, 1))) is not None:
        for other in (power + 1, power * 1.02):
            yield Change("exponent", f"{power:g} -> {other:g}", set_constant(1, input_of(node, 1), other))


def _epsilons(node: ir.Node) -> Iterator[Change]:
    for name in _EPSILON:
        if name in node.attributes:
            before = float(attribute(node, name))
            for after in _other_epsilons(before):
                yield Change("epsilon", f"{before:g} -> {after:g}", set_attribute(name, after))
    if node.op_type == "LayerNormalization" and "epsilon" not in node.attributes:
        yield Change("epsilon", "1e-05 -> 0.001", set_attribute("epsilon", 1e-3))
    if node.op_type in ("Add", "Max", "Clip"):
        for position, value in enumerate(node.inputs):
            before_number = number(value)
            if before_number is not None and 0 < before_number <= _LARGEST_EPSILON:
                for after in _other_epsilons(before_number):
                    what = f"{before_number:g} -> {after:g}"
                    yield Change("epsilon", what, set_constant(position, value, after))


def _other_epsilons(before: float) -> list[float]:
    """Those that people confuse: ten times more and less, and 1e-3 for one that is far smaller."""
    return [before * 10, before / 10, *([1e-3] if before < 1e-4 else [])]


def _scales(node: ir.Node) -> Iterator[Change]:
    for name in _SCALES.get(node.op_type, ()):
        before = attribute(node, name)
        if before:
            yield Change("scale", f"{name} {before:g} -> {1.05 * before:g}", set_attribute(name, 1.05 * before))
    if node.op_type == "MatMul":
        # 1/sqrt(d) is often folded into a weight; a product that is 5 % off is the same fault.
        kind = dtype_of(node.outputs[0])
        if kind and not any(is_constant(v) for v in node.inputs):
            build = partial(_times, kind=kind)
            yield Change("scale", "a product of two activations times 1.05", before_input(0, build))
    if node.op_type in ("Mul", "Div"):
        for position, value in enumerate(node.inputs):
            factor = number(value)
            other = 1 - position
            if factor is None or (node.op_type == "Div" and position == 0):
                continue
            for share in (1.05, 0.95):
                what = f"{factor:g} -> {factor * share:g}"
                yield Change("scale", what, set_constant(position, value, factor * share))
            if factor != 1:
                yield Change("scale", f"{node.op_type} by {factor:g} dropped", become_input(other))


def _times(graph: ir.Graph, value: ir.Value, add: Add, kind: str) -> ir.Value:
    return add("Mul", value, new_constant(graph, [1.05], kind))
