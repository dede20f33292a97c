"""Decompositions that torch.onnx.export (2.13) lacks, or has in a form that it can't translate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

_aten = torch.ops.aten


def diagonal_scatter(
    tensor: torch.Tensor, source: torch.Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> torch.Tensor:
    """`tensor` with `source` on a diagonal: what a write to `tensor.diagonal()` becomes. PyTorch's own form writes in place."""
    rank = tensor.dim()
    dim1, dim2 = dim1 % rank, dim2 % rank
    row, column = (
        torch.arange(tensor.shape[d], device=tensor.device).view([-1 if i == d else 1 for i in range(rank)])
        for d in (dim1, dim2)
    )
    # source's last axis runs along the diagonal, from row max(0, -offset) on
    along = (torch.arange(tensor.shape[dim1], device=tensor.device) + min(offset, 0)).clamp(min=0)
    along = torch.minimum(along, torch.full_like(along, source.shape[-1] - 1))
    spread = source.index_select(-1, along)
    # [..., rows] -> the place of rows and columns in tensor, one column for all
    spread = spread.unsqueeze(-1)
    order = [d for d in range(rank) if d not in (dim1, dim2)] + [dim1, dim2]
    spread = spread.permute([order.index(d) for d in range(rank)])
    return torch.where(column - row == offset, spread.to(tensor.dtype), tensor)


def rsub_scalar(tensor: torch.Tensor, number: Any, alpha: Any = 1) -> Any:
    """number - alpha * tensor. PyTorch's own form subtracts a tensor from a number, which has no operator where types differ."""
    if tensor.is_floating_point() or not isinstance(number, float):
        return NotImplemented
    wide = tensor.to(torch.get_default_dtype())
    return torch.full((), number, dtype=wide.dtype, device=tensor.device) - (wide if alpha == 1 else wide * alpha)


def add_booleans(tensor: torch.Tensor, other: Any, alpha: Any = 1) -> Any:
    """The sum of two booleans is true where one is: ONNX's Add takes no booleans."""
    if tensor.dtype is torch.bool and isinstance(other, torch.Tensor) and other.dtype is torch.bool and alpha == 1:
        return tensor.logical_or(other)
    return NotImplemented


_TABLE: dict[Any, Callable[..., Any]] = {
    _aten.diagonal_scatter.default: diagonal_scatter,
    _aten.rsub.Scalar: rsub_scalar,
    _aten.add.Tensor: add_booleans,
}


@contextmanager
def decompositions() -> Iterator[None]:
    """The exporter's decompositions, with those of this file in front."""
    from torch.onnx._internal.exporter import _decomp

    original = _decomp.create_onnx_friendly_decomposition_table

    def table(registered: Any) -> dict[Any, Callable[..., Any]]:
        known = original(registered)
        return known | {operator: _before(own, known.get(operator)) for operator, own in _TABLE.items()}

    with mock.patch.object(_decomp, "create_onnx_friendly_decomposition_table", table):
        yield


def _before(own: Callable[..., Any], other: Callable[..., Any] | None) -> Callable[..., Any]:
    """`own`, and `other` where it does not apply."""
    if other is None:
        return own

    def either(*args: Any, **kwargs: Any) -> Any:
        found = own(*args, **kwargs)
        return other(*args, **kwargs) if found is NotImplemented else found

    return either
