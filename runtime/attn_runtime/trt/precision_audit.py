"""In which type the engine multiplies and convolves: told from the build's own layer list, not from what was asked.

A library that quietly builds fp32 where fp16 was asked for is the failure that this is for, or one that multiplies in
float16 what the graph quantises.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ..errors import PrecisionError
from ..escape import printable
from ..text_format import columns
from .layers import Layer, LayerTensor

_DTYPE = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_FLOATS = ("float32", "float64", "float16", "bfloat16")
_HALF = ("float16", "bfloat16")
#: What a graph quantises to, as layer lists name it.
_NARROW = ("int8", "int4", "float8", "FP4")
_BODY = re.compile(r" \| .*\((If|Loop|Scan)\)")
#: TensorRT calls a node in a body "NODE | BODY (then_branch) | NODE_OF_THE_IF (If)".
_OF_BODY = re.compile(r" \| ([^|]*?) \((?:If|Loop|Scan)\)")
# Layer types that multiply or convolve and nothing before it: TensorRT-RTX's, and the enterprise library's many.
_PRODUCT = re.compile(
    r"^(gemm|correlation|conv|convolution|deconvolution|fc|fully.?connected)$|gemm|matrix.?multiply|conv", re.I
)


@dataclass(frozen=True)
class Quantised:
    """How the network quantises a product.

    dtype         what it is to be multiplied in, "int8" or "float8"; of weights alone, what they lie in, also "int4"
    weights_only  whether it is multiplied in the type of its activations, with weights that lie in `dtype`
    nodes         the ONNX nodes that dequantise its weights
    why_not       what keeps every kernel from multiplying it so, where that is known; else ""
    """

    dtype: str
    weights_only: bool = False
    nodes: tuple[str, ...] = ()
    why_not: str = ""


@dataclass(frozen=True)
class AuditedLayer:
    """A layer that multiplies matrices or convolves, the dtype it does so in, and the ONNX nodes in it.

    `asked` is what the graph quantises those nodes to, where the layer does not keep to it; `why` says why not, where
    that is known.
    """

    name: str
    type: str
    dtype: str
    nodes: tuple[str, ...]
    asked: str = ""
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields of engine.schema.json: `asked` and `why` only where there is something in them."""
        told = {**asdict(self), "nodes": list(self.nodes)}
        return {name: value for name, value in told.items() if value or name not in ("asked", "why")}


@dataclass(frozen=True)
class Audit:
    """type       asked for: "fp32", "fp16" or "bf16"
    layers     how many layers the engine has
    counts     dtype -> layers that multiply matrices or convolve in it
    unaudited  why nothing could be audited; "" when it could
    kept       the layers that stay in float32 on purpose
    offenders  the layers in another type than the one asked for, or narrowed though they were to stay in float32
    weights    dtype of quantised weights -> products in a float type that read them as they lie in the engine
    widened    the products whose weights lie quantised in the engine, and are widened by a kernel before each use: the
               engine is small, and no faster for it
    """

    type: str
    layers: int
    counts: Mapping[str, int] = field(default_factory=dict)
    unaudited: str = ""
    kept: tuple[AuditedLayer, ...] = ()
    offenders: tuple[AuditedLayer, ...] = ()
    weights: Mapping[str, int] = field(default_factory=dict)
    widened: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        told = {**vars(self), "counts": dict(self.counts), "weights": dict(self.weights), "widened": list(self.widened)}
        told |= {side: [layer.to_json() for layer in getattr(self, side)] for side in ("kept", "offenders")}
        # A graph that is not quantised has the audit that it had before there were such graphs.
        return {name: value for name, value in told.items() if value or name not in ("weights", "widened")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Audit:
        sides = {
            side: tuple(AuditedLayer(**{**layer, "nodes": tuple(layer["nodes"])}) for layer in data[side])
            for side in ("kept", "offenders")
        }
        return cls(
            data["type"],
            data["layers"],
            data["counts"],
            data["unaudited"],
            **sides,
            weights=data.get("weights", {}),
            widened=tuple(data.get("widened", ())),
        )

    def require(self) -> None:
        """PrecisionError where a layer runs in another type than the one asked for, or than what the graph quantises it
        to, or where nothing could be audited."""
        if self.unaudited and self.type != "fp32":
            raise PrecisionError(f"asked for {self.type}, and the engine can't be audited: {self.unaudited}")
        if quantised := [layer for layer in self.offenders if layer.asked]:
            raise _not_as_quantised(quantised)
        if self.offenders:
            rows = [("layer", "kind", "type", "ONNX nodes")]
            rows += [(printable(o.name), o.type, o.dtype, printable(", ".join(o.nodes))) for o in self.offenders]
            found = Counter(o.dtype for o in self.offenders)
            told = ", ".join(f"{count} in {dtype}" for dtype, count in found.items())
            if set(found) == {_DTYPE[self.type]}:
                raise PrecisionError(
                    f"{len(self.offenders)} layers that are kept in float32 on purpose run in {_DTYPE[self.type]}: the "
                    "library narrowed them, and their values may overflow; nothing was written. Run the model with "
                    "--backend ort, or compile another precision",
                    columns(rows),
                )
            raise PrecisionError(
                f"asked for {self.type}, and of {sum(self.counts.values())} layers that multiply or convolve the engine "
                f"runs {told}; nothing was written. {self._cure()}",
                columns(rows),
            )

    def _cure(self) -> str:
        if any(_BODY.search(node) for offender in self.offenders for node in offender.nodes):
            return (
                "They lie in the body of an If, Loop or Scan, which is not converted: change the module so that it has "
                "none, or compile fp32"
            )
        return f"Make the graph's types what they should be: attn-export to-trt --{self.type}"

    def __str__(self) -> str:
        if self.unaudited:
            return f"not audited: {self.unaudited}"
        narrow = {dtype: count for dtype, count in self.counts.items() if dtype in _NARROW}
        counts = {**narrow, _DTYPE[self.type]: 0, "float32": 0, **self.counts}
        told = ", ".join(f"{count} matmul/conv in {dtype}" if not i else f"{count} in {dtype}"
                         for i, (dtype, count) in enumerate(counts.items()))  # fmt: skip
        told += f" ({len(self.kept)} kept on purpose)" if self.kept else ""
        told += "".join(f"; weights of {count} lie in {dtype}" for dtype, count in self.weights.items())
        return f"{self.layers} layers: {told}"


def _not_as_quantised(layers: Sequence[AuditedLayer]) -> PrecisionError:
    rows = [("layer", "kind", "type", "asked", "ONNX nodes", "why")]
    rows += [(printable(o.name), o.type, o.dtype, o.asked, printable(", ".join(o.nodes)), o.why) for o in layers]
    nodes = [node for layer in layers for node in layer.nodes]
    count = len(set(nodes))
    first = f"{printable(nodes[0])} runs in {layers[0].dtype}{f' ({layers[0].why})' if layers[0].why else ''}"
    return PrecisionError(
        f"the graph quantises {count} product{'s' if count > 1 else ''} to "
        f"{' and '.join(sorted({o.asked for o in layers}))} that the engine multiplies otherwise: {first}"
        f"{', and more below' if count > 1 else ''}; nothing was written. Leave {'them' if count > 1 else 'it'} out of the "
        "quantisation (attn-export convert --leave NODE), or compile another precision",
        columns(rows),
    )


def audit(
    layers: Sequence[Layer],
    products: Mapping[str, str],
    type: str,
    kept: Collection[str] = (),
    weak: bool = False,
    quantised: Mapping[str, Quantised] | None = None,
) -> Audit:
    """Hold the engine's layers against the `type` asked for: "fp32", "fp16" or "bf16".

    `products` are the ONNX nodes that multiply matrices or convolve, with the dtype that the network gives them; `kept`
    those nodes that stay in float32 on purpose: a layer that computes one of them in half precision offends. `quantised`
    are those products that the network quantises: a layer that multiplies one of them in another type than it is
    quantised to offends, and one that finds weights that were to lie in a narrow type widened for good. With `weak` the
    library chose: float32 is its right, as long as one layer is of the type asked for, and only a node in `kept` that it
    narrowed offends.
    """
    quantised = quantised or {}
    if not layers:
        return Audit(type, 0, unaudited="the build gave no list of layers")
    found = [(layer, _dtype(layer, products)) for layer in _multiplying(layers, products)]
    # What is folded into a constant has no layer; but not everything can have been.
    if products and not found:
        told = f"its list of layers has none of the graph's {len(products)} matmuls and convolutions"
        return Audit(type, len(layers), unaudited=told)
    kept_layers: list[AuditedLayer] = []
    offenders: list[AuditedLayer] = []
    for layer, dtype in found:
        line = AuditedLayer(layer.name, layer.type, dtype, layer.nodes)
        missed = [node for node in layer.nodes if node in quantised and not quantised[node].weights_only]
        missed = [node for node in missed if quantised[node].dtype != dtype]
        if missed:
            asked = quantised[missed[0]]
            offenders.append(replace(line, nodes=tuple(missed), asked=asked.dtype, why=asked.why_not))
        elif dtype in _FLOATS and dtype != _DTYPE[type]:
            inside = [node for node in layer.nodes if node in products]
            on_purpose = dtype == "float32" and inside and all(_on_purpose(node, kept) for node in inside)
            (kept_layers if on_purpose else offenders).append(line)
        elif dtype in _HALF and any(node in kept and (weak or products.get(node) == "float32") for node in layer.nodes):
            offenders.append(line)
    # A node that no layer names was folded or merged away; but what the network has in another type is no less so.
    named = {node for layer, _ in found for node in layer.nodes}
    counts = Counter(dtype for _, dtype in found)
    if weak:
        if counts[_DTYPE[type]] or not found:
            offenders = [line for line in offenders if line.dtype in _HALF]
        return Audit(type, len(layers), dict(counts), "", tuple(kept_layers), tuple(offenders))
    for node, dtype in products.items():
        if node not in named and not _on_purpose(node, kept) and dtype in _FLOATS and dtype != _DTYPE[type]:
            offenders.append(AuditedLayer("(in no layer)", "network", dtype, (node,)))
    weights, widened, lost = _weights(layers, found, quantised)
    return Audit(
        type, len(layers), dict(counts), "", tuple(kept_layers), (*offenders, *lost), dict(weights), tuple(widened)
    )


def _weights(
    layers: Sequence[Layer], found: Sequence[tuple[Layer, str]], quantised: Mapping[str, Quantised]
) -> tuple[Counter[str], list[str], list[AuditedLayer]]:
    """Of the products whose weights alone are quantised: dtype -> how many read them so; those whose weights a kernel
    widens before; and, as offenders, those whose weights lie in the engine in no such type any more."""
    read: Counter[str] = Counter()
    widened: list[str] = []
    lost: list[AuditedLayer] = []
    if not any(layer.constants for layer in layers):
        return read, widened, lost  # the library does not list what lies in the engine
    for node, asked in quantised.items():
        own = [(layer, dtype) for layer, dtype in found if node in layer.nodes]
        if not asked.weights_only or not own:
            continue
        if any(_holds(layer, asked.dtype) for layer, _ in own):
            read[asked.dtype] += 1
        elif any(_holds(layer, asked.dtype) for layer in layers if set(asked.nodes).intersection(layer.nodes)):
            widened.append(node)
        else:
            layer, dtype = own[0]
            why = "its weights were widened for good"
            lost.append(AuditedLayer(layer.name, layer.type, dtype, (node,), f"{asked.dtype} weights", why))
    return read, widened, lost


def _holds(layer: Layer, dtype: str) -> bool:
    return any(tensor.dtype == dtype for tensor in layer.constants)


def _on_purpose(node: str, kept: Collection[str]) -> bool:
    """Whether the node stays in float32 on purpose, or the If, Loop or Scan does in whose body it lies."""
    return node in kept or any(name in kept for name in _OF_BODY.findall(node))


def _multiplying(layers: Sequence[Layer], products: Mapping[str, str]) -> list[Layer]:
    """The layers that do the work: a layer that only moves or pads data for a convolution bears its node's name too."""
    proper = [layer for layer in layers if _is_product(layer)]
    done = {node for layer in proper for node in layer.nodes}
    others = [
        layer
        for layer in layers
        if layer not in proper and any(node in products and node not in done for node in layer.nodes)
    ]
    return [*proper, *others]


def _is_product(layer: Layer) -> bool:
    """Whether it is a kernel of products and nothing else, or of attention."""
    return _PRODUCT.search(layer.type) is not None or "_mha" in layer.tactic


def _dtype(layer: Layer, products: Mapping[str, str]) -> str:
    """In which type the layer multiplies: a narrow one where it does, else that of its tensors where they agree, else what
    the network says of its nodes, since a kernel may hold a cast."""
    operands = [tensor for tensor in (*layer.inputs, *layer.constants) if not _single(tensor)]
    if narrow := _narrow(layer, operands):
        return narrow
    tensors = [*operands, *(tensor for tensor in layer.outputs if not _single(tensor))]
    floats = {tensor.dtype for tensor in tensors if tensor.dtype in _FLOATS}
    if len(floats) == 1:
        return floats.pop()
    typed = {products[node] for node in layer.nodes if node in products}
    wide = sorted(typed & {"float32", "float64"}) or sorted(typed)
    return wide[0] if wide else "float32"


def _narrow(layer: Layer, operands: Sequence[LayerTensor]) -> str:
    """The narrow type that the layer multiplies in; "" where it does not, but widens such operands itself.

    TensorRT-RTX's products of narrow types are layers of their own ("gemm"), or attention kernels: scales come behind
    them. A fusion that reads narrow operands beside scales of more than one number ("runtime_fusion") widens first.
    """
    narrow = [tensor for tensor in operands if tensor.dtype in _NARROW]
    if not narrow or not any(tensor.dtype in _NARROW for tensor in layer.inputs):
        return ""
    # Of the two operands of a product one may be weights, which not every library lists.
    enough = _is_product(layer) and not layer.constants
    alone = _is_product(layer) or len(narrow) == len(operands)
    return narrow[0].dtype if enough or (len(narrow) > 1 and alone) else ""


def _single(tensor: LayerTensor) -> bool:
    """Whether it is one number: a factor or an offset, which kernels take in float32 always."""
    return all(size == 1 for size in tensor.dims)
