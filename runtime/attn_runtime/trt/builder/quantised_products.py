"""Which products of a parsed network are quantised: what the audit afterwards asks of the engine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import DTYPES, Quantised
from .fp32_guard import PRODUCTS, layer_types, node_name
from .parser_check import shape_of

#: Layers between a DequantizeLinear and a product, which the library moves it through.
_CARRIERS = ("SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE", "CAST")


@dataclass(frozen=True)
class _Operand:
    """Of a product, quantised: its dtype, its ONNX DequantizeLinear, whether it is constant, and the shape of its scales
    (None for those that are computed while the engine runs)."""

    dtype: str
    node: str
    constant: bool
    scales: tuple[int, ...] | None


def quantised_products(trt: Any, network: Any) -> dict[str, Quantised]:
    """ONNX node -> how the parsed `network` quantises it, of each product whose operands, or whose weights, are.

    A product of which only the activations are quantised is one of floats, and not here.
    """
    wanted = layer_types(trt, PRODUCTS)
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    walk = _Walk(trt, layers)
    found = {}
    for layer in layers:
        if layer.type in wanted and (told := _of(trt, layer, walk)) is not None:
            found[node_name(layer)] = told
    return found


def _of(trt: Any, layer: Any, walk: _Walk) -> Quantised | None:
    operands = walk.operands(layer)
    present = [operand for operand in operands if operand is not None]
    weights = [operand for operand in present if operand.constant]
    nodes = tuple(operand.node for operand in weights)
    if present and len(present) == len(operands):
        moving = [operand for operand in present if not operand.constant]
        # Of activations and weights in two types, the product is in that of the activations.
        return Quantised((moving or present)[0].dtype, False, nodes, _why_not(trt, layer, moving, weights, walk))
    return Quantised(weights[0].dtype, True, nodes) if weights else None


def _why_not(trt: Any, layer: Any, activations: Sequence[_Operand], weights: Sequence[_Operand], walk: _Walk) -> str:
    """What may keep a kernel from it, by what TensorRT-RTX 1.7.1 built: scales that do not come out of a sum."""
    if layer.type in layer_types(trt, ("DECONVOLUTION",)):
        return "no kernel multiplies a ConvTranspose so"
    if any(operand.scales is None for operand in activations):
        return "the scale of its activations is computed while it runs"
    if any(math.prod(operand.scales or ()) != 1 for operand in activations):
        return "its activations have more than one scale"
    if layer.type in layer_types(trt, ("MATRIX_MULTIPLY",)):
        channels = shape_of(layer.get_output(0))[-1:]
        # Blocks have scales of two axes: they do come out, a block at a time.
        single = [operand.scales for operand in weights if operand.scales is not None and len(operand.scales) < 2]
        if any(scales not in ((), (1,), channels) for scales in single):
            return "its weights have other scales than one for each output"
        if walk.parts(layer) > 1:
            return "its result is cut in parts, as queries, keys and values are, and so are its weights then"
    elif any(operand.scales for operand in activations):
        return "the scale of its activations is a list of one, not a scalar"
    return ""


class _Walk:
    """From a tensor of the network back to what made it."""

    def __init__(self, trt: Any, layers: Sequence[Any]) -> None:
        self._trt = trt
        self._carriers = layer_types(trt, _CARRIERS)
        self._maker: Mapping[str, Any] = {
            layer.get_output(n).name: layer for layer in layers for n in range(layer.num_outputs)
        }

        self._readers: dict[str, list[Any]] = {}
        for layer in layers:
            for n in range(layer.num_inputs):
                if (tensor := layer.get_input(n)) is not None:
                    self._readers.setdefault(tensor.name, []).append(layer)

    def operands(self, layer: Any) -> list[_Operand | None]:
        """What the layer multiplies; a convolution's third input is its bias."""
        count = layer.num_inputs
        if layer.type in layer_types(self._trt, ("CONVOLUTION", "DECONVOLUTION")):
            count = 2  # weights that are no tensor are not quantised
        tensors = [layer.get_input(number) if number < layer.num_inputs else None for number in range(count)]
        return [None if tensor is None else self._operand(tensor) for tensor in tensors]

    def parts(self, layer: Any) -> int:
        """Into how many pieces the result of the layer is cut, a bias and its turning left out."""
        passing = self._carriers | layer_types(self._trt, ("ELEMENTWISE",))
        cutting = layer_types(self._trt, ("SLICE", "GATHER"))
        while True:
            readers = self._readers.get(layer.get_output(0).name, [])
            if len(readers) != 1 or readers[0].type not in passing:
                return sum(reader.type in cutting for reader in readers)
            layer = readers[0]

    def _operand(self, tensor: Any) -> _Operand | None:
        made = self._source(tensor)
        if made is None or made.type not in layer_types(self._trt, ("DEQUANTIZE",)):
            return None
        narrow, scale = made.get_input(0), made.get_input(1)
        before = self._source(narrow)
        if before is not None and before.type in layer_types(self._trt, ("QUANTIZE",)):
            before = self._source(before.get_input(0))
        dtype = narrow.dtype.name
        return _Operand(DTYPES.get(dtype, dtype), node_name(made), self._is_constant(before), self._shape(scale))

    def _source(self, tensor: Any) -> Any:
        """The layer that made the tensor, those that only pass values on left out; None for an input of the network."""
        made = self._maker.get(tensor.name)
        while made is not None and made.type in self._carriers:
            made = self._maker.get(made.get_input(0).name)
        return made

    def _is_constant(self, layer: Any) -> bool:
        return layer is not None and layer.type == self._trt.LayerType.CONSTANT

    def _shape(self, scale: Any) -> tuple[int, ...] | None:
        if scale is None or not self._is_constant(self._source(scale)):
            return None
        return shape_of(scale)
