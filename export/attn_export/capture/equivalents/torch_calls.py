"""Functions of PyTorch that make a Python number of a size, in others that do not.

They run in C++ on plain integers, or count tensors in a Python list, so that torch.export takes the example's size for
the only one. What they answer is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class SizedCalls(TorchFunctionMode):
    """Context manager around torch.export.export(..., strict=False)."""

    def __init__(self) -> None:
        super().__init__()
        self._written: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        written = _WRITTEN.get(func)
        answer = NotImplemented if written is None else written(*args, **(kwargs or {}))
        if answer is NotImplemented:
            return func(*args, **(kwargs or {}))
        self._written[getattr(func, "__name__", str(func))] += 1
        return answer

    def told(self) -> str:
        """Which calls were written otherwise: "linspace, 2 times split"."""
        return ", ".join(f"{n} times {name}" if n > 1 else name for name, n in sorted(self._written.items()))


def _varies(*sizes: Any) -> bool:
    return any(isinstance(size, torch.SymInt) for size in sizes)


def _linspace(start: Any, end: Any, steps: Any = None, **options: Any) -> Any:
    """As PyTorch computes it: from both ends to the middle, and the start alone where there is one step."""
    dtype = options.get("dtype") or torch.get_default_dtype()
    if not _varies(steps) or not dtype.is_floating_point or options.get("out") is not None:
        return NotImplemented
    at = torch.arange(steps)
    last = torch.full((1,), steps - 1)
    step = (end - start) / last.clamp(min=1).to(dtype)
    from_end = end - (last - at).to(dtype) * step
    return torch.where((at < steps // 2) | (at == 0), start + at.to(dtype) * step, from_end)


def _max_pool1d(
    input: torch.Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    if return_indices or not _varies(*input.shape):
        return NotImplemented

    def over_width(size: Any, other: int) -> list[int]:
        return [other, size[0] if isinstance(size, (tuple, list)) else size]

    strides = over_width(kernel_size if stride is None or stride == [] else stride, 1)
    options = (over_width(kernel_size, 1), strides, over_width(padding, 0), over_width(dilation, 1), ceil_mode)
    return torch.max_pool2d(input.unsqueeze(-2), *options).squeeze(-2)


def _split(tensor: torch.Tensor, split_size_or_sections: Any = None, dim: int = 0, **named: Any) -> Any:
    size = named.get("split_size", split_size_or_sections)
    if isinstance(size, (list, tuple)) or not _varies(size, tensor.shape[dim]):
        return NotImplemented
    return _pieces(tensor, size, dim)


def _chunk(input: torch.Tensor, chunks: int, dim: int = 0) -> Any:
    length = input.shape[dim]
    return _pieces(input, (length + chunks - 1) // chunks, dim) if _varies(length) else NotImplemented


def _pieces(tensor: torch.Tensor, size: Any, dim: int) -> tuple[torch.Tensor, ...]:
    """Pieces of `size`, the last one of what is left. How many there are is the example's number, by a guard."""
    length = tensor.shape[dim]
    count = int((length + size - 1) // size)
    starts = [number * size for number in range(count)]
    ends = [*starts[1:], length]
    return tuple(tensor.narrow(dim, start, end - start) for start, end in zip(starts, ends, strict=True))


_WRITTEN: Mapping[Any, Callable[..., Any]] = {
    torch.linspace: _linspace,
    torch.max_pool1d: _max_pool1d,
    F.max_pool1d: _max_pool1d,
    torch.split: _split,
    torch.Tensor.split: _split,
    torch.chunk: _chunk,
    torch.Tensor.chunk: _chunk,
}
