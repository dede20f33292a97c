"""An ONNX graph to look things up in: who makes a tensor, who reads it, its shape and dtype, whether it is constant.

Shapes come from onnx's own inference. Weights are left out of it: their values say nothing of shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

#: Constants of up to this many elements keep their value: sizes, axes, scales, masks of a fixed length.
_VALUE_ELEMENTS = 1 << 22
#: Of these, inference needs the value: they may be a shape.
_SHAPE_ELEMENTS = 64
_DTYPES: dict[int, str] = {
    TensorProto.FLOAT: "float32", TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64", TensorProto.BOOL: "bool",
}  # fmt: skip

Size = int | str
Shape = tuple[Size, ...]


class GraphView:
    """One graph of a model. `outer` is the graph around the body of an If or Loop.

    The nodes are those of the model that was given, not copies.
    """

    def __init__(
        self, graph: onnx.GraphProto, types: dict[str, onnx.TypeProto], outer: GraphView | None = None
    ) -> None:
        self.graph = graph
        self.outer = outer
        self.nodes: list[onnx.NodeProto] = list(graph.node)
        self.producer = {name: node for node in self.nodes for name in node.output if name}
        self.consumers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.nodes:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)
        self.initializers = {t.name: t for t in graph.initializer}
        self.outputs = {o.name for o in graph.output}
        self._types = types
        self._constant: dict[str, bool] = {}

    def shape(self, name: str) -> Shape | None:
        """Sizes in elements, a dim's name where it is dynamic, "?" where nothing is known; None for an unknown rank."""
        if name in self.initializers:
            return tuple(self.initializers[name].dims)
        known = self._types.get(name)
        if known is None or not known.tensor_type.HasField("shape"):
            return self.outer.shape(name) if self.outer is not None and name not in self.producer else None
        return tuple(_size(d) for d in known.tensor_type.shape.dim)

    def dtype(self, name: str) -> str:
        """numpy's name, "bfloat16", or "" when it is not known."""
        if name in self.initializers:
            return _DTYPES.get(self.initializers[name].data_type, "")
        known = self._types.get(name)
        if known is None:
            return self.outer.dtype(name) if self.outer is not None and name not in self.producer else ""
        return _DTYPES.get(known.tensor_type.elem_type, "")

    def is_one_number(self, name: str) -> bool:
        """Whether the tensor is known to have one element."""
        shape = self.shape(name)
        return shape is not None and all(size == 1 for size in shape)

    def is_constant(self, name: str) -> bool:
        """Whether the tensor is a weight, or made of weights alone (a cast, transposed or dequantized one)."""
        todo = [name]
        while todo:  # not by recursion: a graph may be thousands of nodes deep
            current = todo[-1]
            if current in self._constant:
                todo.pop()
                continue
            node = self.producer.get(current)
            if node is None:
                inside = self.outer is not None and current not in {i.name for i in self.graph.input}
                outside = self.outer.is_constant(current) if self.outer is not None and inside else False
                self._constant[current] = current in self.initializers or current == "" or outside
            elif any(a.HasField("g") for a in node.attribute):
                self._constant[current] = False
            else:
                unknown = [i for i in node.input if i and i not in self._constant]
                if unknown:
                    todo.extend(unknown)
                    continue
                self._constant[current] = all(self._constant[i] for i in node.input if i)
        return self._constant[name]

    def value(self, name: str) -> np.ndarray[Any, Any] | None:
        """The value of a constant that is stored as such, inside the file, and is not too large to look at."""
        tensor = self.initializers.get(name)
        node = self.producer.get(name)
        if tensor is None and node is not None and node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    tensor = attribute.t
                elif attribute.name in ("value_float", "value_int", "value_floats", "value_ints"):
                    return np.asarray(onnx.helper.get_attribute_value(attribute))
        if tensor is None:
            return self.outer.value(name) if self.outer is not None and node is None else None
        if tensor.data_location == TensorProto.EXTERNAL or int(np.prod(tensor.dims)) > _VALUE_ELEMENTS:
            return None
        return numpy_helper.to_array(tensor)


def views(model: onnx.ModelProto) -> Iterator[GraphView]:
    """The model's graph, then the bodies of its branches and loops, each before those inside it.

    The model is not changed, and need not have its external weights loaded.
    """
    yield from _views(model.graph, _inferred(model).graph, None)


def _views(graph: onnx.GraphProto, inferred: onnx.GraphProto, outer: GraphView | None) -> Iterator[GraphView]:
    types = {v.name: v.type for v in (*inferred.value_info, *inferred.input, *inferred.output)}
    view = GraphView(graph, types, outer)
    yield view
    for node, twin in zip(graph.node, inferred.node, strict=True):
        for attribute, its_twin in zip(node.attribute, twin.attribute, strict=True):
            if attribute.HasField("g"):
                yield from _views(attribute.g, its_twin.g, view)


def _inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    bare = onnx.ModelProto()
    for field in ("ir_version", "opset_import", "functions"):
        value = getattr(model, field)
        if isinstance(value, int):
            setattr(bare, field, value)
        else:
            getattr(bare, field).extend(value)
    bare.graph.name = model.graph.name
    for field in ("node", "input", "output", "value_info"):
        getattr(bare.graph, field).extend(getattr(model.graph, field))
    for tensor in model.graph.initializer:
        if tensor.data_location != TensorProto.EXTERNAL and int(np.prod(tensor.dims)) <= _SHAPE_ELEMENTS:
            bare.graph.initializer.append(tensor)
        else:
            known = any(i.name == tensor.name for i in model.graph.input)
            if not known:
                bare.graph.input.append(
                    onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
                )
    try:
        return onnx.shape_inference.infer_shapes(bare, data_prop=True)
    except Exception:  # an operator that inference chokes on: what the file itself declares is left
        return bare


def _size(dim: onnx.TensorShapeProto.Dimension) -> Size:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    # Inference makes up names of its own for what it can't tell.
    return dim.dim_param if dim.dim_param and not dim.dim_param.startswith("unk__") else "?"
