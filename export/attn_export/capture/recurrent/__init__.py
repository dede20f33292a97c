"""LSTM, GRU and RNN as ONNX has them: one node a layer, over any number of steps, padded or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .constant_weights import fold_weights
    from .layers import KINDS, Kind, run_layers
    from .padded import pack, unpack

__all__ = ["KINDS", "Kind", "fold_weights", "pack", "run_layers", "unpack"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "constant_weights": ["fold_weights"],
        "layers": ["KINDS", "Kind", "run_layers"],
        "padded": ["pack", "unpack"],
    },
)
