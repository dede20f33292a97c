"""Operators that the exporter translates in some of their calls alone, in others that it always does.

roll by a computed number, or by more than the shortest length; amax and amin over everything; searchsorted; isin of more than
a few, which PyTorch makes a search of; squeeze of all axes that are 1; a check of a whole tensor.
"""

from __future__ import annotations

from typing import Any

import torch

from .building_blocks import Call, CanNotWrite, Form, Size, arguments, bounds, count_to, value


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    name = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    if name in ("amax", "amin"):
        axes = list(range(value(given["self"]).dim()))
        whole = torch.amax if name == "amax" else torch.amin
        return Call(whole, (given["self"], axes, given["keepdim"]), {}) if axes and not given["dim"] else None
    if name == "squeeze":
        return _squeeze(given)
    if name == "isin":
        elements, among = list(given.values())[:2]
        if not isinstance(value(elements), torch.Tensor) or not isinstance(value(among), torch.Tensor):
            return None
        return Call(among_them, (elements, among), {"invert": given["invert"]})
    if name == "_is_all_true":  # what torch._check_tensor_all asks
        return Call(torch.all, (given["self"],), {})
    if name == "roll":
        lengths = value(given["self"]).shape
        if all(_in_reach(value(s), lengths[dim]) for s, dim in zip(given["shifts"], given["dims"], strict=False)):
            return None
        return Call(rolled, (given["self"], list(given["shifts"]), list(given["dims"])), {}) if given["dims"] else None
    right = bool(given["right"]) or given["side"] == "right"
    return Call(
        counted_below,
        (given["sorted_sequence"], given["self"], given["sorter"]),
        {"right": right, "dtype": torch.int32 if given["out_int32"] else torch.int64},
    )


def _squeeze(given: dict[str, Any]) -> Call | None:
    """Without named axes a graph would squeeze a batch of one row too, and what follows was traced with the batch."""
    shape = value(given["self"]).shape
    if "dim" in given or all(isinstance(size, int) for size in shape):
        return None
    axes = [axis for axis, size in enumerate(shape) if isinstance(size, int) and size == 1]
    return Call(torch.squeeze, (given["self"], axes), {}) if axes else Call(torch.clone, (given["self"],), {})


def _in_reach(shift: Any, length: Size) -> bool:
    """Whether the exporter's two slices hold what is rolled: a fixed shift by no more than any length."""
    try:
        return isinstance(shift, int) and abs(shift) <= bounds(length)[0]
    except CanNotWrite:
        return False


def rolled(x: torch.Tensor, shifts: list[Size], dims: list[int]) -> torch.Tensor:
    """torch.roll by any numbers: each place is read from where it came."""
    for shift, dim in zip(shifts, dims, strict=True):
        length = x.shape[dim]
        origin = count_to(length) - shift % length  # type: ignore[operator]
        x = x.index_select(dim, torch.where(origin < 0, origin + length, origin))
    return x


def counted_below(
    boundaries: torch.Tensor, values: Any, sorter: torch.Tensor | None, *, right: bool, dtype: torch.dtype
) -> torch.Tensor:
    """torch.searchsorted: how many of boundaries [..., N] lie below each of values [..., M], or at it too (`right`).

    Each is compared with each, N * M of them. A NaN lies above all, as in PyTorch.
    """
    if sorter is not None:
        boundaries = boundaries.gather(-1, sorter)
    if not isinstance(values, torch.Tensor):
        above = boundaries > values if right else boundaries >= values
    else:
        against = boundaries if boundaries.dim() == 1 else boundaries.unsqueeze(-2)
        above = against > values.unsqueeze(-1) if right else against >= values.unsqueeze(-1)
    counted: torch.Tensor = (~above).sum(-1, dtype=dtype)
    return counted


def among_them(elements: torch.Tensor, among: torch.Tensor, *, invert: bool) -> torch.Tensor:
    """torch.isin: each of elements [...] is compared with each of `among`, any shape."""
    found = (elements.unsqueeze(-1) == among.reshape(-1)).any(-1)
    return ~found if invert else found


FORM = Form(frozenset({"roll", "amax", "amin", "searchsorted", "isin", "squeeze", "_is_all_true"}), _write)
