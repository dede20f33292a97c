"""Keep the library from narrowing a product that the graph has in float32.

TensorRT-RTX computes Cast(MatMul(Cast(x), w)), float32 between two casts, in float16 throughout, and rounds float32
weights for it: a weight of 1e6, which is why such a product is kept in float32, becomes infinity.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import numpy as np

from .. import NODE

#: Layers that multiply matrices or convolve, by their names in LayerType.
PRODUCTS = ("MATRIX_MULTIPLY", "CONVOLUTION", "DECONVOLUTION", "EINSUM", "ATTENTION_INPUT")
#: Layers that pass values on as they are.
_CARRIERS = ("SHUFFLE", "IDENTITY", "SQUEEZE", "UNSQUEEZE")


def layer_types(trt: Any, names: Collection[str]) -> set[Any]:
    """The members of LayerType with those names, as far as this version has them."""
    return {getattr(trt.LayerType, name) for name in names if hasattr(trt.LayerType, name)}


def node_name(layer: Any) -> str:
    """The ONNX node that a layer of the network was made from."""
    node = NODE.search(layer.metadata)
    return node[1] if node else str(layer.name)


def hold_float32(trt: Any, network: Any, kept: Collection[str]) -> list[Any]:
    """Put max(y, -inf), which is y, behind every float32 product y that has weights, or is one of the nodes `kept`, and
    whose result is cast to half precision: that ends the pattern.

    Returns what has to live until the network is built.
    """
    layers = [network.get_layer(number) for number in range(network.num_layers)]
    maker = {layer.get_output(n).name: layer for layer in layers for n in range(layer.num_outputs)}
    readers: dict[str, list[tuple[Any, int]]] = {}
    for layer in layers:
        for number, tensor in _inputs(layer):
            readers.setdefault(tensor.name, []).append((layer, number))
    products, carriers = layer_types(trt, PRODUCTS), layer_types(trt, _CARRIERS)
    convolutions = layer_types(trt, ("CONVOLUTION", "DECONVOLUTION"))  # their weights are no inputs
    half = {trt.float16, trt.bfloat16}

    def narrows(layer: Any) -> bool:
        made = layer.get_output(0)
        if made is not None and made.dtype in half:
            return bool(layer.type in carriers or layer.type == getattr(trt.LayerType, "CAST", None))
        return layer.type in carriers and any(narrows(reader) for reader, _ in readers.get(made.name, ()))

    def has_weights(layer: Any) -> bool:
        return layer.type in convolutions or any(
            _is_weight(trt, tensor, maker, carriers) for _, tensor in _inputs(layer)
        )

    held: list[Any] = []
    for layer in layers:
        made = layer.get_output(0) if layer.type in products else None
        if made is None or made.dtype != trt.float32 or not (node_name(layer) in kept or has_weights(layer)):
            continue
        places = [(reader, number) for reader, number in readers.get(made.name, ()) if narrows(reader)]
        if not places:
            continue
        least = np.full((1,) * len(made.shape), -np.inf, np.float32)
        held.append(least)
        constant = network.add_constant(least.shape, trt.Weights(least))
        same = network.add_elementwise(made, constant.get_output(0), trt.ElementWiseOperation.MAX)
        for reader, number in places:
            reader.set_input(number, same.get_output(0))
    return held


def _inputs(layer: Any) -> Iterator[tuple[int, Any]]:
    for number in range(layer.num_inputs):
        tensor = layer.get_input(number)
        if tensor is not None:
            yield number, tensor


def _is_weight(trt: Any, tensor: Any, maker: dict[str, Any], carriers: Collection[Any]) -> bool:
    """Whether the tensor is a constant in float32, as it lies in the file or turned."""
    while tensor.dtype == trt.float32 and tensor.name in maker:
        layer = maker[tensor.name]
        if layer.type == trt.LayerType.CONSTANT:
            return True
        if layer.type not in carriers:
            return False
        tensor = layer.get_input(0)
    return False
