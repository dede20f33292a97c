"""The fp32 graph with a switch per site: which of them are quantised is an input, so that one session measures any choice.

What a choice of sites does to the answers is asked many times in a search. Writing a graph for each would write the weights of
all of it each time; here the weights of sites are inputs, in fp32 or as they are once rounded, and activations are rounded where
a flag says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .qdq import TYPES_SINCE
from .sites import Site
from .writer import drop_unread, set_opset

#: bool [sites]: whether the activation of a site is rounded.
FLAGS = "//quantised"


def weight_input(number: int) -> str:
    """The input that holds the weight of site `number`, in the shape that it is stored in."""
    return f"//weight/{number}"


def add_switches(
    model: onnx.ModelProto, sites: Sequence[Site], activations: str, scales: Mapping[str, float], element: int
) -> None:
    """Make inputs of the sites' weights, and round their activations where FLAGS says so. Changes `model`.

    `activations` as a scheme has it; static ones are rounded to the type `element` with the scale of `scales`, by tensor.
    Raises PassError as `qdq.insert` does.
    """
    graph = model.graph
    shapes = {t.name: list(t.dims) for t in graph.initializer}
    by_node = {site.node: (number, site) for number, site in enumerate(sites)}
    turns = {name for node in graph.node if node.op_type == "Transpose" for name in node.output}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.name in by_node:
            number, site = by_node[node.name]
            place = 0 if site.operator == "Gather" else 1
            given = weight_input(number)
            graph.input.append(helper.make_tensor_value_info(given, TensorProto.FLOAT, shapes[site.weight]))
            if node.input[place] != site.weight and node.input[place] in turns:
                nodes.append(helper.make_node("Transpose", [given], [f"{given}/turned"], perm=[1, 0]))
                given = f"{given}/turned"
            node.input[place] = given
            if site.activation and activations != "float":
                nodes.extend(_rounding(number, site, activations, scales, element, graph))
                node.input[0] = f"//activation/{number}"
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    if activations != "float":
        graph.input.append(helper.make_tensor_value_info(FLAGS, TensorProto.BOOL, [len(sites)]))
    if activations == "static" and element == TensorProto.FLOAT8E4M3FN:
        set_opset(model, "", TYPES_SINCE)
    drop_unread(graph)


def _rounding(
    number: int, site: Site, activations: str, scales: Mapping[str, float], element: int, graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    """Nodes that make //activation/NUMBER: the site's activation, rounded or as it is."""
    at = f"//activation/{number}"
    if activations == "dynamic":
        rounded = [
            helper.make_node("DynamicQuantizeLinear", [site.activation], [f"{at}/q", f"{at}/scale", f"{at}/zero"]),
            helper.make_node("DequantizeLinear", [f"{at}/q", f"{at}/scale", f"{at}/zero"], [f"{at}/rounded"]),
        ]
    else:
        scale = np.asarray(scales[site.activation], np.float32)
        graph.initializer.append(numpy_helper.from_array(scale, f"{at}/scale"))
        graph.initializer.append(helper.make_tensor(f"{at}/zero", element, [], [0]))
        rounded = [
            helper.make_node("QuantizeLinear", [site.activation, f"{at}/scale", f"{at}/zero"], [f"{at}/q"]),
            helper.make_node("DequantizeLinear", [f"{at}/q", f"{at}/scale", f"{at}/zero"], [f"{at}/rounded"]),
        ]
    graph.initializer.append(numpy_helper.from_array(np.asarray(number, np.int64), f"{at}/index"))
    return [
        *rounded,
        helper.make_node("Gather", [FLAGS, f"{at}/index"], [f"{at}/on"]),
        helper.make_node("Where", [f"{at}/on", f"{at}/rounded", site.activation], [at]),
    ]
