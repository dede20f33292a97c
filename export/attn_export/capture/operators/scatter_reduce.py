"""scatter_reduce("mean"), scatter_reduce("amax"/"amin") without the destination, and index_reduce.

The exporter scatters "mean" without any reduction, which is another function. For amax and amin with
include_self=False it starts from the smallest or largest finite number, so that -inf, as masks hold, is lost.
index_reduce has no translation; it is a scatter_reduce with the index repeated.

A mean is a sum divided by a count: two scatters. Integer means are rounded down, as PyTorch does.
"""

from __future__ import annotations

import math

import torch

from .building_blocks import Call, Form, arguments, value


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    if any(value(given[name]).dim() == 0 for name in ("self", "index")):
        return None
    given["src"] = given.pop("source", given.get("src"))
    # Names end in "_" where the operator works in place.
    operator = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    spread, in_place = operator.startswith("index"), operator.endswith("_")
    if not spread and (given["reduce"] in ("sum", "prod") or (given["include_self"] and given["reduce"] != "mean")):
        return None
    destination = given.pop("self")
    return Call(reduced, (destination,), {**given, "spread": spread, "in_place": in_place})


def reduced(
    destination: torch.Tensor,
    dim: int,
    index: torch.Tensor,
    src: torch.Tensor,
    reduce: str,
    include_self: bool,
    spread: bool,
    in_place: bool,
) -> torch.Tensor:
    """`destination.scatter_reduce(dim, index, src, reduce)`; with `spread` index is [K], as index_reduce has it."""
    if spread:
        shape = [1] * src.dim()
        shape[dim] = -1
        index = index.reshape(shape).expand(src.shape)
    if reduce == "mean":
        answer = _mean(destination, dim, index, src, include_self)
    elif include_self or reduce == "prod":
        answer = destination.scatter_reduce(dim, index, src, reduce, include_self=include_self)
    else:
        start = destination.scatter(dim, index, _least(destination.dtype, reduce))
        answer = start.scatter_reduce(dim, index, src, reduce, include_self=True)
    return destination.copy_(answer) if in_place else answer


def _mean(
    destination: torch.Tensor, dim: int, index: torch.Tensor, src: torch.Tensor, include_self: bool
) -> torch.Tensor:
    start = torch.ones_like if include_self else torch.zeros_like
    count = start(destination).scatter_add(dim, index, torch.ones_like(src))
    total = (destination if include_self else torch.zeros_like(destination)).scatter_add(dim, index, src)
    count_or_one = torch.maximum(count, torch.ones_like(count))
    # Not torch.div with a rounding mode: the exporter divides integers in float32.
    mean = total / count_or_one if destination.is_floating_point() else total // count_or_one
    return mean if include_self else torch.where(count > 0, mean, destination)


def _least(dtype: torch.dtype, reduce: str) -> float | int:
    """The number that leaves amax or amin as they are."""
    if dtype.is_floating_point:
        return -math.inf if reduce == "amax" else math.inf
    return torch.iinfo(dtype).min if reduce == "amax" else torch.iinfo(dtype).max


FORM = Form(frozenset({"scatter_reduce", "scatter_reduce_", "index_reduce", "index_reduce_"}), _write)
