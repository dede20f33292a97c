"""In which type the engine multiplies and convolves: told from the build's own layer list, not from what was asked.

A library that quietly builds fp32 where fp16 was asked for is the failure that this is for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..errors import PrecisionError
from ..escape import printable
from ..text_format import columns
from .layers import Layer, LayerTensor

_DTYPE = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}
_FLOATS = ("float32", "float64", "float16", "bfloat16")
_HALF = ("float16", "bfloat16")
_BODY = re.compile(r" \| .*\((If|Loop|Scan)\)")
#: TensorRT calls a node in a body "NODE | BODY (then_branch) | NODE_OF_THE_IF (If)".
_OF_BODY = re.compile(r" \| ([^|]*?) \((?:If|Loop|Scan)\)")
# Layer types that multiply or convolve and nothing before it: TensorRT-RTX's, and the enterprise library's many.
_PRODUCT = re.compile(
    r"^(gemm|correlation|conv|convolution|deconvolution|fc|fully.?connected)$|gemm|matrix.?multiply|conv", re.I
)


@dataclass(frozen=True)
class AuditedLayer:
    """A layer that multiplies matrices or convolves, the dtype it does so in, and the ONNX nodes in it."""

    name: str
    type: str
    dtype: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """type       asked for: "fp32", "fp16" or "bf16"
    layers     how many layers the engine has
    counts     dtype -> layers that multiply matrices or convolve in it
    unaudited  why nothing could be audited; "" when it could
    kept       the layers that stay in float32 on purpose
    offenders  the layers in another type than the one asked for, or narrowed though they were to stay in float32
    """

    type: str
    layers: int
    counts: Mapping[str, int] = field(default_factory=dict)
    unaudited: str = ""
    kept: tuple[AuditedLayer, ...] = ()
    offenders: tuple[AuditedLayer, ...] = ()

    def to_json(self) -> dict[str, Any]:
        sides = {
            side: [{**asdict(layer), "nodes": list(layer.nodes)} for layer in getattr(self, side)]
            for side in ("kept", "offenders")
        }
        return {**vars(self), "counts": dict(self.counts), **sides}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Audit:
        sides = {
            side: tuple(AuditedLayer(**{**layer, "nodes": tuple(layer["nodes"])}) for layer in data[side])
            for side in ("kept", "offenders")
        }
        return cls(data["type"], data["layers"], data["counts"], data["unaudited"], **sides)

    def require(self) -> None:
        """PrecisionError where a layer runs in another type than the one asked for, or nothing could be audited."""
        if self.unaudited and self.type != "fp32":
            raise PrecisionError(f"asked for {self.type}, and the engine can't be audited: {self.unaudited}")
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
        counts = {_DTYPE[self.type]: 0, "float32": 0, **self.counts}
        told = ", ".join(f"{count} matmul/conv in {dtype}" if not i else f"{count} in {dtype}"
                         for i, (dtype, count) in enumerate(counts.items()))  # fmt: skip
        return f"{self.layers} layers: {told}{f' ({len(self.kept)} kept on purpose)' if self.kept else ''}"


def audit(
    layers: Sequence[Layer], products: Mapping[str, str], type: str, kept: Collection[str] = (), weak: bool = False
) -> Audit:
    """Hold the engine's layers against the `type` asked for: "fp32", "fp16" or "bf16".

    `products` are the ONNX nodes that multiply matrices or convolve, with the dtype that the network gives them; `kept`
    those nodes that stay in float32 on purpose: a layer that computes one of them in half precision offends. Lower
    precisions than the one asked for (int8, float8) are the graph's own doing and pass. With `weak` the library chose: float32
    is its right, as long as one layer is of the type asked for, and only a node in `kept` that it narrowed offends.
    """
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
        if dtype in _FLOATS and dtype != _DTYPE[type]:
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
    return Audit(type, len(layers), dict(counts), "", tuple(kept_layers), tuple(offenders))


def _on_purpose(node: str, kept: Collection[str]) -> bool:
    """Whether the node stays in float32 on purpose, or the If, Loop or Scan does in whose body it lies."""
    return node in kept or any(name in kept for name in _OF_BODY.findall(node))


def _multiplying(layers: Sequence[Layer], products: Mapping[str, str]) -> list[Layer]:
    """The layers that do the work: a layer that only moves or pads data for a convolution bears its node's name too."""
    proper = [layer for layer in layers if _PRODUCT.search(layer.type)]
    done = {node for layer in proper for node in layer.nodes}
    others = [
        layer
        for layer in layers
        if layer not in proper and any(node in products and node not in done for node in layer.nodes)
    ]
    return [*proper, *others]


def _dtype(layer: Layer, products: Mapping[str, str]) -> str:
    """In which type the layer multiplies: that of its tensors where they agree, else what the network says of its nodes,
    since a kernel may hold a cast."""
    tensors = [t for t in (*layer.inputs, *layer.outputs, *layer.constants) if not _single(t)]
    low = next((t.dtype for t in tensors if t.dtype in ("int8", "int4") or t.dtype.startswith(("float8", "fp4"))), None)
    floats = {t.dtype for t in tensors if t.dtype in _FLOATS}
    if len(floats) == 1 and low is None:
        return floats.pop()
    typed = {products[node] for node in layer.nodes if node in products}
    wide = sorted(typed & {"float32", "float64"}) or sorted(typed)
    return wide[0] if wide else low or "float32"


def _single(tensor: LayerTensor) -> bool:
    """Whether it is one number: a factor or an offset, which kernels take in float32 always."""
    return all(size == 1 for size in tensor.dims)
