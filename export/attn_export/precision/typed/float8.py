"""Activations that are rounded to fp8, written so that ONNX Runtime computes them."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

_FLOAT8 = TensorProto.FLOAT8E4M3FN


def round_by_casts(graph: onnx.GraphProto) -> None:
    """Write QuantizeLinear to E4M3 by one scale, and DequantizeLinear of it, as casts between a Div and a Mul: the same numbers.

    The graph is in fp32. ONNX Runtime 1.31 takes the two together with the product behind them, to MatMulIntegerToFloat or
    QLinearConv, without looking whether those take fp8: they don't, and no session can be made. And it leaves out a Relu in
    front of QuantizeLinear, as if fp8 had no numbers under 0, as uint8 has none.
    """
    zeros = {t.name for t in graph.initializer if t.data_type == _FLOAT8 and not t.dims}
    rounded: set[str] = set()
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if len(node.input) != 3 or node.input[2] not in zeros:
            nodes.append(node)
        elif node.op_type == "QuantizeLinear":
            rounded.add(node.output[0])
            scaled = f"{node.output[0]}//scaled"
            nodes.append(helper.make_node("Div", node.input[:2], [scaled], name=scaled))
            nodes.append(helper.make_node("Cast", [scaled], node.output, name=node.name, to=_FLOAT8))
        elif node.op_type == "DequantizeLinear" and node.input[0] in rounded:
            wide = f"{node.output[0]}//wide"
            nodes.append(helper.make_node("Cast", node.input[:1], [wide], name=wide, to=TensorProto.FLOAT))
            nodes.append(helper.make_node("Mul", [wide, node.input[1]], node.output, name=node.name))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
