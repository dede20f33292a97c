"""What a layer of TensorRT's network has to say for it to be the ONNX node that it was made from: one rule an operator.

TensorRT's parser reads some nodes as something else without an error. docs/parsers.md has the table of what was found, by
version and source; a rule here is what tells it from a network, so that a version that reads it rightly passes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...onnx_file import Node, OnnxGraph

_PYTORCH = "change the module, or run the model with --backend ort"


@dataclass(frozen=True)
class LayerFacts:
    """One layer of the network, in plain values.

    node      the ONNX node it was made from
    kind      its LayerType
    values    its attributes, as far as a rule reads them: enumerations by name, None where this version has none such
    made      shape of its first output, -1 for what is dynamic
    given     shape of its first input
    inputs    dtype of each input, "" for one that is not there
    narrowed  of its parameters that were cast from float32 to half precision on the way, whether each of the numbers fits;
              None where they are no constants
    scales    shape of its second input: of what quantises, the scales
    """

    node: str
    kind: str
    values: Mapping[str, Any]
    made: tuple[int, ...]
    given: tuple[int, ...] = ()
    inputs: tuple[str, ...] = ()
    narrowed: tuple[bool | None, ...] = ()
    scales: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        return len(self.made)


Compare = Callable[[Node, LayerFacts, OnnxGraph], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """operators  of the default ONNX domain, or "domain.operator"
    layer      the LayerType that they become
    reads      the layer's attributes that are compared
    compare    yields a text for every difference between node and layer
    way_out    what to do about one, in words
    certain    whether every difference changes answers; else it is a note
    absent     whether it is asked of nodes that became no layer at all, with `layer` left empty
    """

    operators: tuple[str, ...]
    layer: str
    reads: tuple[str, ...]
    compare: Compare
    way_out: str = _PYTORCH
    certain: bool = True
    absent: bool = field(default=False)


def _differs(what: str, says: object, read: object) -> Iterator[str]:
    same = (
        math.isclose(says, read, rel_tol=1e-5) if isinstance(says, float) and isinstance(read, float) else says == read
    )
    if read is not None and not same:
        yield f"the graph says {what} {says}, and TensorRT read {read}"


def _given(node: Node, number: int) -> str:
    return node.inputs[number] if number < len(node.inputs) else ""


def _number(node: Node, name: str, default: int) -> int:
    value = node.attributes.get(name, default)
    return value if isinstance(value, int) else default


def _axes(mask: int, rank: int) -> list[int]:
    return [axis for axis in range(rank) if mask >> axis & 1]


def _group_norm(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    groups, axes = node.attributes.get("num_groups"), _axes(layer.values["axes"], layer.rank)
    dims = graph.values[node.inputs[0]].dims if node.inputs[0] in graph.values else None
    one_channel = dims is not None and len(dims) > 1 and dims[1] == 1
    if groups == 1 and 1 not in axes and not one_channel:
        yield (
            "its one group is all channels, and TensorRT read an InstanceNormalization, which normalises each channel by "
            f"itself (axes {axes})"
        )
    elif layer.values["num_groups"] is not None and groups != 1:
        yield from _differs("num_groups", groups, layer.values["num_groups"])
    yield from _differs("epsilon", node.attributes.get("epsilon", 1e-5), layer.values["epsilon"])


def _instance_norm(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    yield from _differs("axes", list(range(2, layer.rank)), _axes(layer.values["axes"], layer.rank))
    yield from _differs("epsilon", node.attributes.get("epsilon", 1e-5), layer.values["epsilon"])


def _layer_norm(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    first = _number(node, "axis", -1) % max(layer.rank, 1)
    yield from _differs("axes", list(range(first, layer.rank)), _axes(layer.values["axes"], layer.rank))
    yield from _differs("epsilon", node.attributes.get("epsilon", 1e-5), layer.values["epsilon"])


def _softmax(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    if graph.opset >= 13:  # before, the axes behind count too, and TensorRT reshapes
        axis = _number(node, "axis", -1) % max(layer.rank, 1)
        yield from _differs("axes", [axis], _axes(layer.values["axes"], layer.rank))


#: ONNX -> (coordinate_transformation, selector_for_single_pixel)
_COORDINATES = {
    "half_pixel": ("HALF_PIXEL", "FORMULA"),
    "pytorch_half_pixel": ("HALF_PIXEL", "UPPER"),
    "align_corners": ("ALIGN_CORNERS", "FORMULA"),
    "asymmetric": ("ASYMMETRIC", "FORMULA"),
}
_ROUNDINGS = {
    "round_prefer_floor": "HALF_DOWN", "round_prefer_ceil": "HALF_UP", "floor": "FLOOR", "ceil": "CEIL",
}  # fmt: skip


def _resize(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    old = node.op_type == "Upsample" or graph.opset < 11  # knew neither of these, and meant one of each
    told, read = node.attributes, layer.values
    mode = str(told.get("mode", "nearest"))
    yield from _differs("mode", mode.upper(), read["resize_mode"])
    coordinates = "asymmetric" if old else str(told.get("coordinate_transformation_mode", "half_pixel"))
    rounding = "floor" if old else str(told.get("nearest_mode", "round_prefer_floor"))
    if (mode, coordinates, rounding) == ("nearest", "tf_half_pixel_for_nn", "round_prefer_floor"):
        # rounding x down at halves is the ceiling of x - 1/2: the same samples
        yield from _differs(coordinates, "HALF_PIXEL", read["coordinate_transformation"])
        yield from _differs(f"{coordinates}, rounded", "CEIL", read["nearest_rounding"])
        return
    wanted = _COORDINATES.get(coordinates, (coordinates, "FORMULA"))
    yield from _differs("coordinates", wanted[0], read["coordinate_transformation"])
    if mode == "nearest":
        yield from _differs("nearest_mode", _ROUNDINGS.get(rounding, rounding), read["nearest_rounding"])
    else:
        yield from _differs("for a length of one", wanted[1], read["selector_for_single_pixel"])
    if mode == "cubic":
        yield from _differs("cubic_coeff_a", told.get("cubic_coeff_a", -0.75), read["cubic_coeff"])
        yield from _differs("exclude_outside", told.get("exclude_outside", 0), read["exclude_outside"])
    for name, usual in (("antialias", 0), ("keep_aspect_ratio_policy", "stretch")):
        yield from _differs(name, told.get(name, usual), usual)


def _deconvolution(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    shape, before, after = (
        node.attributes.get("output_shape"),
        layer.values["pre_padding"],
        layer.values["post_padding"],
    )
    if not isinstance(shape, tuple) or before is None or str(layer.values["padding_mode"]).startswith("SAME"):
        return
    cut = [a + b for a, b in zip(before, after, strict=True)]
    if node.attributes.get("auto_pad", "NOTSET") == "SAME_UPPER":
        begins = [size // 2 for size in cut]
    else:
        begins = [size - size // 2 for size in cut]
    count = len(shape)
    yield from _differs(
        f"output_shape {list(shape)}, which cuts off at the front", begins[:count], list(before[:count])
    )


def _clip(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    low, high = layer.values["alpha"], layer.values["beta"]
    if layer.values["type"] == "CLIP" and low > high:
        yield f"its least value, {low:g}, is above its greatest, {high:g}: that gives {high:g}, and in TensorRT {low:g}"


def _quantize(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    zero = _given(node, 2)
    made = graph.values.get(zero) if zero else graph.values.get(node.outputs[0])
    told = _number(node, "output_dtype", 0)
    usual = made.dtype if made is not None else "" if zero else "uint8"
    dtype = {0: usual, 2: "uint8", 3: "int8"}.get(told, "")
    if dtype in ("int8", "uint8") and layer.values["to_type"] is not None:
        yield from _differs("the type", dtype, layer.values["to_type"].lower())


def _blocks(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    size, axis = _number(node, "block_size", 0), _number(node, "axis", 1)
    if size and len(layer.given) == len(layer.scales) > axis and min(layer.given[axis], layer.scales[axis]) > 0:
        # The parser reads no block_size: it divides.
        yield from _differs("blocks of", size, layer.given[axis] // layer.scales[axis])


def _attention(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    causal = node.attributes.get("is_causal", node.attributes.get("unidirectional", 0))
    yield from _differs("the causal mask", "UPPER_LEFT" if causal else "NONE", layer.values["causal_kind"])
    mask = _given(node, 5 if node.op_type == "MultiHeadAttention" else 3)
    yield from _differs("a mask", bool(mask), len(layer.inputs) > 3)


def _suppression(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    if not _given(node, 2):
        yield "it gives no max_output_boxes_per_class, which is 0 boxes, and TensorRT read a number that nobody wrote"
    center = "CENTER_SIZES" if node.attributes.get("center_point_box", 0) else "CORNER_PAIRS"
    yield from _differs("boxes as", center, layer.values["bounding_box_format"])


def _left_out_boxes(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    if not _given(node, 4) and not any(layer.inputs[4:5]):
        yield "it gives no score_threshold, which keeps every box, and TensorRT drops those whose score is 0 or less"
    boxes, limit = graph.values.get(node.inputs[0]), layer.values["topk_box_limit"]
    count = boxes.dims[1] if boxes is not None and boxes.dims is not None and len(boxes.dims) == 3 else None
    if limit is not None and (not isinstance(count, int) or count > limit):
        yield f"TensorRT looks at the {limit} best boxes alone, of {count or 'an unknown number'}"


def _batch_norm(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    if False in layer.narrowed:
        yield "its float32 parameters are rounded to half precision by TensorRT, whose range they leave"


def _batch_norm_rounds(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    if layer.narrowed:
        yield "its float32 parameters are rounded to half precision by TensorRT"


def _windows(node: Node, layer: LayerFacts) -> Iterator[tuple[bool, str]]:
    """Of each axis where a last window may lie outside the input and its padding in front: whether it does, at all sizes."""
    sizes = node.attributes.get("kernel_shape")
    if not isinstance(sizes, tuple) or not node.attributes.get("ceil_mode") or len(layer.given) < 2 + len(sizes):
        return
    strides, pads = (node.attributes.get(name, ()) for name in ("strides", "pads"))
    strides = strides if isinstance(strides, tuple) and strides else (1,) * len(sizes)
    pads = pads if isinstance(pads, tuple) and pads else (0,) * 2 * len(sizes)
    for axis, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        before, after = pads[axis], pads[axis + len(sizes)]
        given, made = layer.given[2 + axis], layer.made[2 + axis]
        if after + stride > size and (given < 0 or (made - 1) * stride >= given + before):
            yield given >= 0, f"windows of {size} by steps of {stride}"


def _beside(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    for certain, text in _windows(node, layer):
        if certain:
            yield f"{text} would end beside the input, where it ends before, and TensorRT adds one more"


def _maybe_beside(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    for certain, text in _windows(node, layer):
        if not certain:
            yield f"{text} may end beside the input, at some of its sizes: there TensorRT adds one more than ONNX Runtime"


def _no_reduction(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
    if node.attributes.get("noop_with_empty_axes"):
        yield f"without axes it is {_ELEMENTWISE[node.op_type]} of each element, and TensorRT leaves the elements as they are"


_ELEMENTWISE = {
    "ReduceL1": "the absolute value", "ReduceL2": "the absolute value", "ReduceLogSum": "the logarithm",
    "ReduceSumSquare": "the square",
}  # fmt: skip


def _named(attribute: str, what: str, default: object, names: Mapping[Any, str], only: tuple[str, ...] = ()) -> Compare:
    """A rule for one attribute of the node that chooses among values of the layer's `attribute`."""

    def compare(node: Node, layer: LayerFacts, graph: OnnxGraph) -> Iterator[str]:
        told, read = node.attributes.get(what, default), layer.values[attribute]
        if read is not None and (not only or read in only):
            yield from _differs(what, names.get(told, str(told)), str(read))

    return compare


_YES = {0: "False", 1: "True"}
_GELU = {"none": "GELU_ERF", "tanh": "GELU_TANH"}
_OUTSIDE = {"constant": "FILL", "reflect": "REFLECT", "edge": "CLAMP", "wrap": "WRAP"}
_SAMPLED = {"bilinear": "LINEAR", "linear": "LINEAR", "nearest": "NEAREST", "bicubic": "CUBIC", "cubic": "CUBIC"}
_AROUND = {"zeros": "FILL", "border": "CLAMP", "reflection": "REFLECT"}
_ROTARY = ("RotaryEmbedding", "com.microsoft.RotaryEmbedding")
_WHOLE = (
    "attn-export to-trt without --skip-pass writes it in an equal form, and so does a new export; else write it as "
    "InstanceNormalization over [N, 1, -1]"
)
_PADS = "give pads in place of output_shape"
_INT8 = "quantize to int8, with a zero point of 0"
_DIVISOR = "take a block that divides the dimension"
_RESIZE = (
    *("resize_mode", "coordinate_transformation", "selector_for_single_pixel", "nearest_rounding"),
    *("cubic_coeff", "exclude_outside"),
)
_BOXES = "give max_output_boxes_per_class"
_SAME = "give the parameters in the type of the input, or fold them into the layer before, as attn-export does"

RULES: tuple[Rule, ...] = (
    Rule(("GroupNormalization",), "NORMALIZATION", ("axes", "num_groups", "epsilon"), _group_norm, _WHOLE),
    Rule(("InstanceNormalization",), "NORMALIZATION", ("axes", "epsilon"), _instance_norm),
    Rule(("LayerNormalization",), "NORMALIZATION", ("axes", "epsilon"), _layer_norm),
    Rule(("Softmax", "LogSoftmax"), "SOFTMAX", ("axes",), _softmax),
    Rule(("BatchNormalization",), "ELEMENTWISE", (), _batch_norm, _SAME),
    Rule(("BatchNormalization",), "ELEMENTWISE", (), _batch_norm_rounds, certain=False),
    Rule(("Resize", "Upsample"), "RESIZE", _RESIZE, _resize),
    Rule(("ConvTranspose",), "DECONVOLUTION", ("pre_padding", "post_padding", "padding_mode"), _deconvolution, _PADS),
    Rule(("Clip",), "ACTIVATION", ("type", "alpha", "beta"), _clip, "give the least value first"),
    Rule(("Gelu",), "ACTIVATION", ("type",), _named("type", "approximate", "none", _GELU, tuple(_GELU.values()))),
    Rule(("QuantizeLinear", "com.microsoft.QuantizeLinear"), "QUANTIZE", ("to_type",), _quantize, _INT8),
    Rule(("DequantizeLinear",), "DEQUANTIZE", (), _blocks, _DIVISOR),
    Rule(("QuantizeLinear",), "QUANTIZE", (), _blocks, _DIVISOR),
    Rule(("Attention", "com.microsoft.MultiHeadAttention"), "ATTENTION_INPUT", ("causal_kind",), _attention),
    Rule(("NonMaxSuppression",), "NMS", ("bounding_box_format",), _suppression, _BOXES),
    Rule(("NonMaxSuppression",), "NMS", ("topk_box_limit",), _left_out_boxes, certain=False),
    Rule(("MaxPool", "AveragePool"), "POOLING", (), _beside, "leave ceil_mode out, which gives the same size here"),
    Rule(("MaxPool", "AveragePool"), "POOLING", (), _maybe_beside, certain=False),
    Rule(("CumSum",), "CUMULATIVE", ("exclusive",), _named("exclusive", "exclusive", 0, _YES)),
    Rule(("CumSum",), "CUMULATIVE", ("reverse",), _named("reverse", "reverse", 0, _YES)),
    Rule(("TopK",), "TOPK", ("op",), _named("op", "largest", 1, {0: "MIN", 1: "MAX"})),
    Rule(("Pad",), "SLICE", ("mode",), _named("mode", "mode", "constant", _OUTSIDE, tuple(_OUTSIDE.values()))),
    Rule(("GridSample",), "GRID_SAMPLE", ("align_corners",), _named("align_corners", "align_corners", 0, _YES)),
    Rule(
        ("GridSample",),
        "GRID_SAMPLE",
        ("interpolation_mode",),
        _named("interpolation_mode", "mode", "linear", _SAMPLED),
    ),
    Rule(("GridSample",), "GRID_SAMPLE", ("sample_mode",), _named("sample_mode", "padding_mode", "zeros", _AROUND)),
    Rule(_ROTARY, "ROTARY_EMBEDDING", ("interleaved",), _named("interleaved", "interleaved", 0, _YES)),
    Rule(tuple(_ELEMENTWISE), "", (), _no_reduction, "write that operator in place of the reduction", absent=True),
)


def _sizes(name: str, graph: OnnxGraph) -> tuple[int, ...]:
    """As a layer's facts have them: -1 for what is dynamic, no axes where nothing is known."""
    dims = graph.values[name].dims if name in graph.values else None
    return tuple(size if isinstance(size, int) else -1 for size in dims or ())


def by_graph_alone(node: Node, graph: OnnxGraph) -> Iterator[str]:
    """What is misread of `node` by all that is known of the parser, for where no network is at hand to look at."""
    made = (-1,) * 4  # which axes are meant does not depend on it
    if node.op_type == "GroupNormalization" and node.attributes.get("num_groups") == 1:
        read: dict[str, Any] = {"axes": 0b1100, "num_groups": 1, "epsilon": None}
        yield from _group_norm(node, LayerFacts(node.name, "NORMALIZATION", read, made), graph)
    elif node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        given, scales = (_sizes(name, graph) for name in node.inputs[:2])
        yield from _blocks(node, LayerFacts(node.name, "", {}, made, given, scales=scales), graph)
        if node.op_type == "QuantizeLinear":
            yield from _quantize(node, LayerFacts(node.name, "QUANTIZE", {"to_type": "INT8"}, made), graph)
    elif node.op_type in _ELEMENTWISE and not _given(node, 1):
        yield from _no_reduction(node, LayerFacts(node.name, "", {}, made), graph)
