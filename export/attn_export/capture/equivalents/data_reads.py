"""`tensor.data`, which PyTorch's tracer doesn't see: what is made of it becomes a constant that has no values.

`detach()` is the same memory without a gradient too, and is traced: what is written into it reaches the tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class DataReads(TorchFunctionMode):
    """Context manager around torch.export.export(..., strict=False); `note` hears of each read."""

    def __init__(self, note: Callable[[str], Any]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # A new object at every look, so equal and not the same.
        if func == torch.Tensor.data.__get__ and not isinstance(args[0], torch.nn.Parameter):  # type: ignore[attr-defined]
            self._note("Tensor.data read")
            return args[0].detach()
        return func(*args, **(kwargs or {}))
