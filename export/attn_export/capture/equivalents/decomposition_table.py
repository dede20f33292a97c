"""Decompositions that torch.onnx.export (2.13) lacks, or has in a form that it can't translate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

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
    spread = source
    if not statically_known_true(source.shape[-1] == tensor.shape[dim1]):
        # source's last axis runs along the diagonal, from row max(0, -offset) on
        along = (torch.arange(tensor.shape[dim1], device=tensor.device) + min(offset, 0)).clamp(min=0)
        spread = source.index_select(-1, torch.minimum(along, torch.full_like(along, source.shape[-1] - 1)))
    # [..., rows] -> the place of rows and columns in tensor, one column for all
    spread = spread.unsqueeze(-1)
    order = [d for d in range(rank) if d not in (dim1, dim2)] + [dim1, dim2]
    spread = spread.permute([order.index(d) for d in range(rank)])
    return torch.where(column - row == offset, spread.to(tensor.dtype), tensor)


def rsub_scalar(tensor: torch.Tensor, number: Any, alpha: Any = 1) -> Any:
    """number - alpha * tensor. PyTorch's own form subtracts a tensor from a number, which has no operator where types differ."""
    symbolic = isinstance(number, (torch.SymInt, torch.SymFloat))
    real = isinstance(number, (float, torch.SymFloat)) and not tensor.is_floating_point()
    if not real and not symbolic:
        return NotImplemented
    wide = tensor.to(torch.get_default_dtype()) if real else tensor
    wide = wide if alpha == 1 else wide * alpha
    if symbolic:
        return -wide + number
    return torch.full((), number, dtype=wide.dtype, device=tensor.device) - wide


def add_booleans(tensor: torch.Tensor, other: Any, alpha: Any = 1) -> Any:
    """The sum of two booleans is true where one is: ONNX's Add takes no booleans."""
    if tensor.dtype is torch.bool and isinstance(other, torch.Tensor) and other.dtype is torch.bool and alpha == 1:
        return tensor.logical_or(other)
    return NotImplemented


def unsqueeze_complex(tensor: torch.Tensor, dim: int) -> Any:
    """A new axis of complex numbers, as rotary places are broadcast over heads: the exporter has one of real numbers alone."""
    if not tensor.is_complex():
        return NotImplemented
    return torch.view_as_complex(torch.view_as_real(tensor).unsqueeze(dim % (tensor.dim() + 1)))


def with_size(operator: Any) -> Callable[..., Any]:
    """`operator` of an integer tensor and a number that was computed from sizes, such as arange(n) * (1 / n).

    The exporter (onnxscript 0.7) makes a Python float of such a number where the tensor is no float.
    """

    def call(tensor: torch.Tensor, number: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(number, torch.SymFloat) or tensor.is_floating_point() or tensor.is_complex():
            return NotImplemented
        return operator(tensor.to(torch.get_default_dtype()), number, *args, **kwargs)

    return call


def _first(*functions: Callable[..., Any]) -> Callable[..., Any]:
    """The answer of the first that does not say NotImplemented; that of the last."""

    def call(*args: Any, **kwargs: Any) -> Any:
        found: Any = NotImplemented
        for function in functions:
            if found is NotImplemented:
                found = function(*args, **kwargs)
        return found

    return call


_TABLE: dict[Any, Callable[..., Any]] = {
    _aten.diagonal_scatter.default: diagonal_scatter,
    _aten.rsub.Scalar: rsub_scalar,
    _aten.unsqueeze.default: unsqueeze_complex,
    _aten.add.Tensor: _first(add_booleans, with_size(_aten.add.Tensor)),
    _aten.sub.Tensor: with_size(_aten.sub.Tensor),
    _aten.mul.Tensor: with_size(_aten.mul.Tensor),
    _aten.div.Tensor: with_size(_aten.div.Tensor),
}


@contextmanager
def decompositions() -> Iterator[None]:
    """The exporter's decompositions, with those of this file in front."""
    from torch.onnx._internal.exporter import _decomp

    original = _decomp.create_onnx_friendly_decomposition_table

    def table(registered: Any) -> dict[Any, Callable[..., Any]]:
        known = original(registered)
        return known | {o: _first(own, *filter(None, [known.get(o)])) for o, own in _TABLE.items()}

    with mock.patch.object(_decomp, "create_onnx_friendly_decomposition_table", table):
        yield
