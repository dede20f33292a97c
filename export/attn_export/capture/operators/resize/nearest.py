"""interpolate(mode="nearest" and "nearest-exact"): a Gather along each axis, with PyTorch's own choice of neighbours.

ONNX Resize names a neighbour by a formula whose rounding is the engine's own: against PyTorch (2.13), ONNX Runtime
(1.31) takes another one at 15 of 195 lengths for size=50, and its answer has another length at T = 90 for
scale_factor=0.7, since the exporter has 0.7 * 90 computed in float32. The exporter's own indices for nearest-exact
differ at 20 of 195 lengths for 0.7.

Resize is kept for nearest where no rounding can decide: each axis keeps its size, grows or shrinks by a power of two, or
grows by a whole number for which PyTorch's float32 agrees with whole numbers at every size of the range.
"""

from __future__ import annotations

import numpy as np
import torch

from ..building_blocks import Call, Form, Size, arguments, as_tensor, value
from .axes import Axis, axes_of, keeps_size
from .coordinates import fixed_positions, positions, table

_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.uint8)


def _write(node: torch.fx.Node) -> Call | None:
    given = list(arguments(node).values())
    source, output_size = given[:2]
    # Overload "vec" has one list of scales, the others one number for each axis.
    scales = given[2] if node.target._overloadname == "vec" else list(given[2:])  # type: ignore[union-attr]
    exact = "exact" in node.target.name()  # type: ignore[union-attr]
    tensor = value(source)
    axes = axes_of(tensor.shape[2:], value(output_size), value(scales))
    if tensor.dtype not in _DTYPES or all(a.same for a in axes):
        return None
    if not exact and all(a.same or a.exact or _whole(a) for a in axes):
        return None
    return Call(resize, (source, output_size, scales), {"exact": exact})


def _whole(axis: Axis) -> bool:
    factor = axis.factor
    if factor is None or factor.denominator != 1 or axis.known_ratio is None:
        return False
    index = np.arange(axis.longest)
    return bool((np.floor(positions(axis.known_ratio, len(index), False)) == index // factor.numerator).all())


def resize(
    source: torch.Tensor, output_size: list[Size] | None, scales: list[float | None], exact: bool
) -> torch.Tensor:
    """source [N, C, *sizes] -> [N, C, *sizes after]."""
    for at, axis in enumerate(axes_of(source.shape[2:], output_size, scales)):
        if not axis.same:
            index = _neighbours(axis, exact, whole_steps=source.dim() == 4 and not exact)
            source = source.index_select(at + 2, index)
    return source


def _neighbours(axis: Axis, exact: bool, whole_steps: bool) -> torch.Tensor:
    """The index before of each index after, int64 [after].

    whole_steps: PyTorch's kernel for pictures, unlike those for one and three axes, copies where the size stays, and
    doubles where it doubles, whatever the scale factor.
    """
    last = as_tensor(axis.before - 1)
    ratio = axis.known_ratio
    if ratio is None:
        return torch.minimum(fixed_positions(axis, half=exact).whole(), last)
    steps = np.floor(positions(ratio, axis.longest, exact)).astype(np.int64)
    index = torch.minimum(table(steps, axis), last)
    for times in (1, 2):
        if whole_steps and keeps_size(axis, times):
            stepped = table(np.arange(axis.longest) // times, axis)
            index = torch.where(as_tensor(axis.after) == as_tensor(axis.before * times), stepped, index)
    return index


FORM = Form(
    frozenset(f"{name}{rank}d" for name in ("upsample_nearest", "_upsample_nearest_exact") for rank in (1, 2, 3)),
    _write,
)
