"""The element type of every tensor of a strongly typed graph, and the rule that makes it one: no operator mixes types.

TensorRT 11 takes the arithmetic from the graph alone, so a graph that leaves a type open, or gives one operator two,
has no meaning there. onnx's own inference is not enough: it takes the first input's type and stays silent.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import onnx
from attn_runtime.errors import BundleError
from onnx import TensorProto

#: The element types of half precision.
HALVES = frozenset((TensorProto.FLOAT16, TensorProto.BFLOAT16))

Types = dict[str, onnx.TypeProto]


def element(kind: onnx.TypeProto | None) -> int:
    """The element type of a tensor, or of the tensors in a sequence or an optional; 0 when it is not known."""
    if kind is None:
        return 0
    which = kind.WhichOneof("value")
    if which in ("sequence_type", "optional_type"):
        return element(getattr(kind, which).elem_type)
    return int(kind.tensor_type.elem_type) if which == "tensor_type" else 0


class TensorTypes:
    """A graph with the type of every name that its nodes may read, its outer graphs' included."""

    def __init__(self, graph: onnx.GraphProto, types: Types, opsets: dict[str, int]) -> None:
        self.graph = graph
        self.types = types
        self.opsets = opsets

    def element(self, name: str) -> int:
        return element(self.types.get(name))

    def elements(self) -> Iterator[int]:
        """The element type of every tensor of this graph and of the bodies in it."""
        yield from (element(kind) for kind in self.types.values())
        for node in self.graph.node:
            for body in self.bodies(node):
                yield from body.elements()

    def bodies(self, node: onnx.NodeProto) -> Iterator[TensorTypes]:
        """The bodies of an If, Loop or Scan, in the order of its attributes."""
        for attribute in node.attribute:
            for body in (attribute.g,) if attribute.HasField("g") else attribute.graphs:
                yield TensorTypes(body, self.types | _declared(body), self.opsets)

    def check(self, node: onnx.NodeProto) -> None:
        """BundleError, with the node's name, when it mixes types, takes one that its operator lacks, or hides one."""
        where = f"node {node.name or node.output[0]} ({node.op_type})"
        schema = _schema(node.op_type, node.domain, self.opsets.get(node.domain, 0))
        if schema is None:
            if any(self.element(name) in HALVES for name in node.input):
                raise BundleError(
                    f"{where}: operator {node.domain}::{node.op_type} has no schema in onnx {onnx.__version__}, so its "
                    "types in half precision can't be told. Export without fused operators, or leave it in fp32."
                )
            return
        bound: dict[str, tuple[str, str]] = {}
        for position, name in enumerate(node.input):
            formal = schema.inputs[min(position, len(schema.inputs) - 1)] if schema.inputs else None
            known = self.types.get(name)
            if not name or formal is None or known is None or known.WhichOneof("value") != "tensor_type":
                continue
            found = f"tensor({_type_name(self.element(name))})"
            if found not in formal.types:
                raise BundleError(f"{where}: input {name} is {found}, which {node.op_type} does not take there")
            variadic = formal.option == onnx.defs.OpSchema.FormalParameterOption.Variadic
            if formal.type_str in formal.types or (variadic and not formal.is_homogeneous):
                continue
            first = bound.setdefault(formal.type_str, (name, found))
            if first[1] != found:
                raise BundleError(
                    f"{where} mixes types: {first[0]} is {first[1]}, {name} is {found}; a strongly typed graph has one "
                    "type per operator. Put a Cast between them, or convert the fp32 graph again: attn-export convert"
                )


def tensor_types(model: onnx.ModelProto) -> TensorTypes:
    """The main graph of `model`, its types inferred. External weights need not be loaded.

    Raises BundleError for a graph that onnx's inference can't read.
    """
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception as problem:
        raise BundleError(f"the graph's types can't be inferred: {' '.join(str(problem).split())[:300]}") from problem
    opsets = {("" if o.domain == "ai.onnx" else o.domain): o.version for o in inferred.opset_import}
    return TensorTypes(inferred.graph, _declared(inferred.graph), opsets)


def _declared(graph: onnx.GraphProto) -> Types:
    types: Types = {}
    for tensor in graph.initializer:
        types[tensor.name] = onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))
    for value in (*graph.value_info, *graph.output, *graph.input):
        types[value.name] = value.type
    return types


@lru_cache(maxsize=4096)
def _schema(operator: str, domain: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(operator, opset, "" if domain == "ai.onnx" else domain)
    except onnx.defs.SchemaError:
        return None


def _type_name(element_type: int) -> str:
    """onnx's name of an element type in a schema: FLOAT16 -> "float16", FLOAT -> "float"."""
    return str(TensorProto.DataType.Name(element_type)).lower()
