"""cummax and cummin, which ONNX has no operator for, by doubling: after step k each place has seen the 2**k places up to it.

That is log2(T) steps of a few nodes over the whole tensor, for the largest T of the declared range.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from .building_blocks import Call, Form, arguments, bounds, moved_on, value


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    source, dim = given["self"], given["dim"]
    if value(source).dtype == torch.bool or value(source).dim() == 0:
        return None
    greatest = node.target._schema.name == "aten::cummax"  # type: ignore[union-attr]
    return Call(running_max if greatest else running_min, (source, dim), {})


def _running(x: torch.Tensor, dim: int, greatest: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and int64 indices, both as x: of equal ones the last, and a NaN from where it stands on."""
    size = x.shape[dim]
    shape: list[Any] = [1] * x.dim()
    shape[dim] = size
    index = torch.arange(size, dtype=torch.int64).reshape(shape).expand(x.shape)
    step = 1
    while step < bounds(size)[1]:
        earlier, where = moved_on(x, dim, step, _least(x.dtype, greatest)), moved_on(index, dim, step, 0)
        stays = x >= earlier if greatest else x <= earlier
        if x.is_floating_point():
            stays = stays | x.isnan()
        x, index, step = torch.where(stays, x, earlier), torch.where(stays, index, where), step * 2
    return x, index


def _least(dtype: torch.dtype, greatest: bool) -> float | int:
    if dtype.is_floating_point:
        return -math.inf if greatest else math.inf
    return torch.iinfo(dtype).min if greatest else torch.iinfo(dtype).max


def running_max(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.cummax."""
    return _running(x, dim, greatest=True)


def running_min(x: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    """torch.cummin."""
    return _running(x, dim, greatest=False)


FORM = Form(frozenset({"cummax", "cummin"}), _write)
