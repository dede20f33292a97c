"""What is known of the values of a graph: their shape and dtype, as onnx infers them, and whether they are constant.

onnx_ir says who makes a value and who reads it; `index` adds these facts to its values, in `meta`, which is not written
to a file. Weights are left out of the inference: what they hold says nothing of shapes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir

from .onnx_file import weights_to_inputs

#: Constants of up to this many elements keep their value: sizes, axes, scales, masks of a fixed length.
_VALUE_ELEMENTS = 1 << 22
#: Of these, inference needs the value: they may be a shape.
_SHAPE_ELEMENTS = 64
_INFERRED, _CONSTANT = "attn_export.inferred", "attn_export.constant"

Size = int | str
Shape = tuple[Size, ...]


def index(model: ir.Model) -> None:
    """Note the facts that the functions below tell; needed again for what is changed or added later.

    External weights need not be there. What the model declares itself stays as it is.
    """
    for graph, inferred in zip(model.graphs(), _inferred(model).graphs(), strict=True):
        known = ir.convenience.create_value_mapping(inferred, include_subgraphs=False)
        for name, value in ir.convenience.create_value_mapping(graph, include_subgraphs=False).items():
            value.meta[_INFERRED] = known[name]
    for graph in model.graphs():
        for value in graph.initializers.values():
            value.meta[_CONSTANT] = True
    for node in model.graph.all_nodes():  # what a node reads is made before it
        bodies = any(a.type == ir.AttributeType.GRAPH for a in node.attributes.values())
        constant = not bodies and all(map(is_constant, node.inputs))
        for value in node.outputs:
            value.meta[_CONSTANT] = constant


def shape_of(value: ir.Value | None) -> Shape | None:
    """Sizes in elements, a dim's name where it is dynamic, "?" where nothing is known; None for an unknown rank."""
    shape = None if value is None else value.meta.get(_INFERRED, value).shape
    return None if shape is None else tuple(map(_size, shape))


def dtype_of(value: ir.Value | None) -> str:
    """numpy's name, "bfloat16", or "" when it is not known."""
    dtype = None if value is None else value.meta.get(_INFERRED, value).dtype
    return dtype.numpy().name if dtype else ""


def is_one_number(value: ir.Value | None) -> bool:
    """Whether the tensor is known to have one element."""
    shape = shape_of(value)
    return shape is not None and all(size == 1 for size in shape)


def is_constant(value: ir.Value | None) -> bool:
    """Whether the tensor is a weight, or made of weights alone (a cast, transposed or dequantized one), or left out."""
    return value is None or bool(value.meta.get(_CONSTANT, False))


def stored(value: ir.Value | None) -> np.ndarray[Any, Any] | None:
    """What a constant holds that is stored as such, inside the file, and is not too large to look at."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    if tensor is None or isinstance(tensor, ir.ExternalTensor) or tensor.size > _VALUE_ELEMENTS:
        return None
    return tensor.numpy()


def _inferred(model: ir.Model) -> ir.Model:
    """A copy with inferred shapes. Where inference chokes on an operator, what the file itself declares is left."""
    bare = model.clone()
    weights_to_inputs(bare.graph, lambda t: isinstance(t, ir.ExternalTensor) or t.size > _SHAPE_ELEMENTS)
    try:
        return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(bare), data_prop=True))
    except Exception:
        return bare


def _size(dim: int | ir.SymbolicDim) -> Size:
    if isinstance(dim, int):
        return dim
    # Inference makes up names of its own for what it can't tell.
    return dim.value if dim.value and not dim.value.startswith("unk__") else "?"
