"""Quantised products as ONNX writes them for every engine: DequantizeLinear of a weight, and of a quantised activation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..typed import tensor_types
from .sites import Site
from .weights import ELEMENTS, Weights
from .writer import GraphWriter, set_opset

#: The opsets that have DequantizeLinear with a scale per channel, float8 and scales in half precision, blocks and int4.
_CHANNELS_SINCE, TYPES_SINCE, _BLOCKS_SINCE = 13, 19, 21


def insert(
    model: onnx.ModelProto,
    sites: Sequence[Site],
    weights: Weights,
    scales: Mapping[str, float],
) -> None:
    """Quantise these sites of `model`, in place. Each scale is of the float type that its node computes in.

    The nodes are found by name, and the order is the model's. `scales` are of static activations, by the name of the site's
    activation; without one, weights alone are quantised. Zero points are 0, biases stay as they are: TensorRT takes nothing else.

    Raises PassError for a graph whose opset lacks what this needs and can't be raised.
    """
    writer = GraphWriter(model)
    by_node = {site.node: site for site in sites}
    element = ELEMENTS[weights.kind]
    types = tensor_types(model)
    since = TYPES_SINCE if weights.kind == "fp8" else _CHANNELS_SINCE
    for node in model.graph.node:
        site = by_node.get(node.name)
        if site is None:
            continue
        # What onnx's inference can't tell is of an operator that it does not know, beside a weight in float32.
        float_type = types.element(node.output[0]) or TensorProto.FLOAT
        if float_type != TensorProto.FLOAT:
            since = max(since, TYPES_SINCE)
        node.input[0 if site.operator == "Gather" else 1] = _weight(writer, node, site, weights, element, float_type)
        if site.activation in scales:
            node.input[0] = _activation(writer, node, scales[site.activation], element, float_type)
    if weights.block is not None:
        since = _BLOCKS_SINCE
    if sites:
        set_opset(model, "", since)
    writer.finish()


def _weight(
    writer: GraphWriter,
    node: onnx.NodeProto,
    site: Site,
    weights: Weights,
    element: int,
    float_type: int,
) -> str:
    """The tensor that the node reads in the place of its weight, in the layout that it reads it in."""
    blocks = weights.of(site)
    # A head behind a Transpose gets what comes out of it: what an engine folds needs no second node.
    reads_nk = node.op_type in ("Gather", "Conv") or (node.op_type == "Gemm" and _turned(node))
    name = f"{site.matrix}/{weights.kind}{'' if reads_nk == site.stored_nk else '/turned'}"
    q = blocks.q.T if reads_nk else blocks.q
    if node.op_type == "Conv":
        q = q.reshape(site.shape)
    lies = writer.weight(name, q, element)
    attributes: dict[str, Any] = {"axis": 0 if reads_nk else 1}
    scales = blocks.scales.reshape(-1)
    if weights.block is not None:
        attributes = {"axis": 1 if reads_nk else 0, "block_size": blocks.block}
        scales = blocks.scales.T if reads_nk else blocks.scales
    # Nodes of one weight may compute in different types.
    typed = f"{name}/scale/{TensorProto.DataType.Name(float_type).lower()}"
    scale = writer.weight(typed, np.asarray(scales, helper.tensor_dtype_to_np_dtype(float_type)))
    wide = writer.own(f"{name}/wide/{node.name}")
    # Said, though 0 is what is meant without: on a CPU whose int8 products saturate, ONNX Runtime makes weights unsigned. What is
    # left out becomes one number for all columns, which it then refuses, and so it does what two nodes share.
    zero = [writer.weight(f"{wide}/zero", np.zeros(scales.shape, np.int8), element)] if weights.kind == "int8" else []
    made = helper.make_node("DequantizeLinear", [lies, scale, *zero], [wide], name=wide, **attributes)
    writer.before(node, [made])
    return wide


def _turned(node: onnx.NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in node.attribute)


def _activation(writer: GraphWriter, node: onnx.NodeProto, scale: float, element: int, float_type: int) -> str:
    """The activation, quantised and back, for this node alone.

    ONNX Runtime fuses both into a product that is their only reader: queries, keys and values that share them, or whose pairs it
    sees to be equal by a scale of one name, are multiplied in float32. TensorRT merges equal ones.
    """
    source = node.input[0]
    at = writer.own(f"{source}/quantised/{node.name}")
    by = writer.weight(f"{at}/scale", np.asarray(scale, helper.tensor_dtype_to_np_dtype(float_type)))
    zero = writer.weight(f"{at}/zero", np.zeros((), np.uint8), element)
    q, wide = writer.own(f"{at}/q"), writer.own(f"{at}/wide")
    writer.before(
        node,
        [
            helper.make_node("QuantizeLinear", [source, by, zero], [q], name=at),
            helper.make_node("DequantizeLinear", [q, by, zero], [wide], name=wide),
        ],
    )
    return wide
