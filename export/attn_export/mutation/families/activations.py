"""The form of an activation: another curve of nearly the same shape, as two libraries may have it."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ...onnx_graph import dtype_of, is_constant
from ._edit import Add, Builder, Change, attribute, become, become_input, new_constant, rebuild, set_attribute

#: Of tanh's form of erf: erf(x) = tanh(2 / sqrt(pi) * (x + 0.0894300 x^3)), nearly.
_ERF_SLOPE, _ERF_CUBE = 1.1283791671, 0.08943


def changes(node: ir.Node) -> Iterator[Change]:
    kind = dtype_of(node.inputs[0]) if node.inputs else ""
    if node.op_type == "Gelu":
        before = attribute(node, "approximate", "none")
        after = "none" if before == "tanh" else "tanh"
        yield Change("activation", f"GELU approximate {before} -> {after}", set_attribute("approximate", after))
        yield Change("activation", "GELU -> x sigmoid(1.702 x)", rebuild(_sigmoid_gelu(kind)))
        yield Change("activation", "GELU -> ReLU", become("Relu"))
    elif node.op_type == "Erf":
        yield Change("activation", "erf -> its tanh form", rebuild(_tanh_erf(kind)))
        yield Change("activation", "erf -> tanh", become("Tanh"))
    elif node.op_type == "Tanh":
        yield Change("activation", "tanh -> hard tanh", rebuild(_hard_tanh(kind)))
    elif node.op_type == "Sigmoid":
        yield Change("activation", "sigmoid -> hard sigmoid", become("HardSigmoid", alpha=1 / 6, beta=0.5))
        yield Change("activation", "sigmoid(x) -> sigmoid(1.702 x)", rebuild(_steeper(kind, "Sigmoid", 1.702)))
    elif node.op_type in ("Silu", "Swish"):
        yield Change("activation", f"{node.op_type} -> hard swish", become("HardSwish"))
    elif node.op_type == "Relu":
        yield Change("activation", "ReLU dropped", become_input(0))
        yield Change("activation", "ReLU -> leaky ReLU (0.01)", become("LeakyRelu", alpha=0.01))
        yield Change("activation", "ReLU -> GELU", rebuild(_sigmoid_gelu(kind)))
    elif node.op_type in ("LeakyRelu", "Elu", "Selu", "Celu", "PRelu", "Mish", "Softplus"):
        yield Change("activation", f"{node.op_type} -> ReLU", rebuild(lambda g, n, add: add("Relu", n.inputs[0])))
    elif node.op_type in ("HardSwish", "HardSigmoid"):
        yield Change("activation", f"{node.op_type} -> its smooth form", rebuild(_smooth(node.op_type)))
    elif node.op_type == "Softmax":
        yield Change("activation", "softmax a little sharper (1.05)", rebuild(_sharper(kind, node)))
        yield Change("activation", "softmax -> its logarithm", become("LogSoftmax", axis=attribute(node, "axis", -1)))
    elif node.op_type in ("Sin", "Cos") and not is_constant(node.inputs[0]):
        other = "Cos" if node.op_type == "Sin" else "Sin"
        yield Change("activation", f"{node.op_type} -> {other}", become(other))
    elif node.op_type == "Clip" and len(node.inputs) > 1:
        yield Change("activation", "Clip dropped", become_input(0))


def _sigmoid_gelu(kind: str) -> Builder:
    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        x = node.inputs[0]
        return add("Mul", x, add("Sigmoid", add("Mul", x, new_constant(graph, 1.702, kind))))

    return build


def _tanh_erf(kind: str) -> Builder:
    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        x = node.inputs[0]
        cube = add("Mul", add("Mul", x, x), add("Mul", x, new_constant(graph, _ERF_CUBE, kind)))
        return add("Tanh", add("Mul", add("Add", x, cube), new_constant(graph, _ERF_SLOPE, kind)))

    return build


def _hard_tanh(kind: str) -> Builder:
    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        return add("Clip", node.inputs[0], new_constant(graph, -1.0, kind), new_constant(graph, 1.0, kind))

    return build


def _steeper(kind: str, op_type: str, by: float) -> Builder:
    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        return add(op_type, add("Mul", node.inputs[0], new_constant(graph, by, kind)))

    return build


def _sharper(kind: str, original: ir.Node) -> Builder:
    axis = attribute(original, "axis", -1)

    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        return add("Softmax", add("Mul", node.inputs[0], new_constant(graph, 1.05, kind)), axis=axis)

    return build


def _smooth(op_type: str) -> Builder:
    def build(graph: ir.Graph, node: ir.Node, add: Add) -> ir.Value:
        gate = add("Sigmoid", node.inputs[0])
        return add("Mul", node.inputs[0], gate) if op_type == "HardSwish" else gate

    return build
