"""Quantised products as ONNX writes them for every engine: DequantizeLinear of a weight, and of a quantised activation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..typed import tensor_types
from .sites import Site
from .weights import ELEMENTS, Weights, as_stored
from .writer import GraphWriter, set_opset

#: DequantizeLinear in blocks, and INT4, are of this opset.
_BLOCKS_SINCE = 21


def insert(
    model: onnx.ModelProto,
    sites: Sequence[Site],
    weights: Weights,
    scales: Mapping[str, float],
) -> None:
    """Quantise these sites of `model`, in place. Each scale is of the float type that its node computes in.

    The nodes are found by name. `scales` are of static activations, by the name of the site's activation; without one, weights
    alone are quantised. Zero points are 0, biases stay as they are: TensorRT takes nothing else.
    """
    writer = GraphWriter(model)
    nodes = {node.name: node for node in model.graph.node}
    element = ELEMENTS[weights.kind]
    types = tensor_types(model)
    done: set[str] = set()
    for site in sites:
        node = nodes[site.node]
        place = 0 if site.operator == "Gather" else 1
        float_type = types.element(node.output[0])
        node.input[place] = _weight(writer, node, site, weights, element, float_type)
        if site.activation in scales:
            node.input[0] = _activation(writer, node, scales[site.activation], element, float_type, done)
    if weights.block is not None:
        set_opset(model, "", _BLOCKS_SINCE)
    writer.finish()


def _weight(
    writer: GraphWriter,
    node: onnx.NodeProto,
    site: Site,
    weights: Weights,
    element: int,
    float_type: int,
) -> str:
    """The tensor that the node reads in the place of its weight, in that weight's own layout."""
    blocks, kind = weights.of(site), weights.kind
    # A head behind a Transpose reads its own [K, N]: what an engine folds needs no second node.
    behind = site.stored_nk and node.op_type == "MatMul"
    stored_nk = site.stored_nk and not behind
    shape = (site.k, site.n) if behind else site.shape
    name = f"{site.weight}/{kind}{'/turned' if behind else ''}"
    wide = f"{name}/wide/{node.name}"
    q = blocks.q if not stored_nk else as_stored(blocks.q, site, shape)
    writer.weight(name, q.reshape(shape), element)
    dtype = np.float16 if float_type == TensorProto.FLOAT16 else np.float32
    attributes: dict[str, Any] = {"axis": 0 if stored_nk else 1}
    scales = blocks.scales.reshape(-1)
    if weights.block is not None:
        attributes = {"axis": 1 if stored_nk else 0, "block_size": blocks.block}
        scales = blocks.scales.T if stored_nk else blocks.scales
    scale = writer.weight(f"{name}/scale", np.ascontiguousarray(scales, dtype))
    made = helper.make_node("DequantizeLinear", [name, scale], [wide], name=f"{wide}/dequantised", **attributes)
    writer.before(node, [made])
    return wide


def _activation(
    writer: GraphWriter, node: onnx.NodeProto, scale: float, element: int, float_type: int, done: set[str]
) -> str:
    """The activation, quantised and back, once for all who read it."""
    source = node.input[0]
    at = f"{source}/quantised"
    if at not in done:
        done.add(at)
        dtype = np.float16 if float_type == TensorProto.FLOAT16 else np.float32
        by = writer.weight(f"{at}/scale", np.asarray(scale, dtype))
        zero = writer.weight(f"{at}/zero", np.zeros((), np.uint8), element)
        writer.before(
            node,
            [
                helper.make_node("QuantizeLinear", [source, by, zero], [f"{at}/q"], name=at),
                helper.make_node("DequantizeLinear", [f"{at}/q", by, zero], [f"{at}/wide"], name=f"{at}/back"),
            ],
        )
    return f"{at}/wide"
