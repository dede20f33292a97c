"""Facts and edits of an ONNX file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .graph_index import Size, dtype_of, index, is_constant, is_one_number, shape_of, stored
    from .linked_data import with_own_data
    from .module_paths import module_path
    from .onnx_file import (
        EXTERNAL_FROM_BYTES,
        GraphInfo,
        info_of,
        load,
        opset_of,
        read_info,
        save_proto,
        weights_to_inputs,
    )
    from .shared_weights import share

__all__ = [
    "EXTERNAL_FROM_BYTES",
    "GraphInfo",
    "Size",
    "dtype_of",
    "index",
    "info_of",
    "is_constant",
    "is_one_number",
    "load",
    "module_path",
    "onnx_file",
    "opset_of",
    "read_info",
    "save_proto",
    "shape_of",
    "share",
    "stored",
    "weights_to_inputs",
    "with_own_data",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "graph_index": ["Size", "dtype_of", "index", "is_constant", "is_one_number", "shape_of", "stored"],
        "module_paths": ["module_path"],
        "linked_data": ["with_own_data"],
        "onnx_file": [
            "EXTERNAL_FROM_BYTES",
            "GraphInfo",
            "info_of",
            "load",
            "opset_of",
            "read_info",
            "save_proto",
            "weights_to_inputs",
        ],
        "shared_weights": ["share"],
    },
)
