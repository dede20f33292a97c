"""interpolate(mode="linear", "bilinear", "trilinear" and "bicubic"), written out axis by axis where Resize would differ.

Output lengths of fractional scale factors are wrong in the exporter's graphs as in nearest's, and three scale factors
of which one is fractional give wrong values at every size (ONNX Runtime 1.31). Coordinates that Resize and PyTorch
round differently move the answers by about 1.2e-7 of the size: beyond sizes of about 100 that is more than 2e-5.

Resize is kept where each axis keeps its size, has the same two sizes in all inputs, changes by a power of two, or is at
most 64 long and not resized by a fractional scale factor. What is written out gathers two (cubic: four) rows an axis.
"""

from __future__ import annotations

import numpy as np
import torch

from ..building_blocks import Call, Form, Size, arguments, as_tensor, bounds, value
from .axes import Axis, axes_of, keeps_size
from .coordinates import centres, fixed_centres, fixed_positions, positions, table

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
#: Up to here, coordinates that are rounded otherwise move no answer by more than the default tolerance.
_SHORT = 64
_CUBIC = -0.75


def _write(node: torch.fx.Node) -> Call | None:
    given = list(arguments(node).values())
    source, output_size, align_corners = given[:3]
    scales = given[3] if node.target._overloadname == "vec" else list(given[3:])  # type: ignore[union-attr]
    tensor = value(source)
    axes = axes_of(tensor.shape[2:], value(output_size), value(scales))
    if tensor.dtype not in _DTYPES or all(a.same for a in axes):
        return None
    if all(a.same or _kept(a, align_corners) for a in axes):
        # Of these, linear1d alone has no translation to Resize.
        return Call(_as_picture, (source, output_size, align_corners, scales), {}) if len(axes) == 1 else None
    cubic = "cubic" in node.target.name()  # type: ignore[union-attr]
    return Call(resize, (source, output_size, align_corners, scales), {"cubic": cubic})


def _kept(axis: Axis, align_corners: bool) -> bool:
    factor = axis.factor
    if axis.exact and not align_corners:
        return True
    if axis.scale is not None and (factor is None or factor.denominator != 1):
        return False
    return axis.static or bounds(axis.before)[1] <= _SHORT


def _as_picture(
    source: torch.Tensor, output_size: list[Size] | None, align_corners: bool, scales: list[float | None] | None
) -> torch.Tensor:
    """source [N, C, T] -> [N, C, T after], as a picture of height 1."""
    size = None if output_size is None else [1, *output_size]
    factors = None if output_size is not None else [1.0, *(scales or ())]
    picture = torch.ops.aten.upsample_bilinear2d.vec(source.unsqueeze(2), size, align_corners, factors)
    return picture.squeeze(2)  # type: ignore[no-any-return]


def resize(
    source: torch.Tensor,
    output_size: list[Size] | None,
    align_corners: bool,
    scales: list[float | None] | None,
    cubic: bool,
) -> torch.Tensor:
    """source [N, C, *sizes] -> [N, C, *sizes after]."""
    for at, axis in reversed(list(enumerate(axes_of(source.shape[2:], output_size, scales)))):
        if not axis.same:
            index, weight = _coordinates(axis, align_corners, cubic)
            weight = weight.to(source.dtype).reshape(-1, *[1] * (source.dim() - at - 3))
            source = (_cubic if cubic else _linear)(source, at + 2, index, weight, as_tensor(axis.before - 1))
    return source


def _linear(
    source: torch.Tensor, dim: int, index: torch.Tensor, weight: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    below = source.index_select(dim, torch.minimum(index, last))
    above = source.index_select(dim, torch.minimum(index + 1, last))
    return below * (1.0 - weight) + above * weight


def _cubic(
    source: torch.Tensor, dim: int, index: torch.Tensor, weight: torch.Tensor, last: torch.Tensor
) -> torch.Tensor:
    """The coefficients of aten/src/ATen/native/UpSample.h, get_cubic_upsample_coefficients."""

    def near(x: torch.Tensor) -> torch.Tensor:
        return ((_CUBIC + 2) * x - (_CUBIC + 3)) * x * x + 1

    def far(x: torch.Tensor) -> torch.Tensor:
        return ((_CUBIC * x - 5 * _CUBIC) * x + 8 * _CUBIC) * x - 4 * _CUBIC

    other = 1.0 - weight
    weights = (far(weight + 1), near(weight), near(other), far(other + 1))
    taps = [
        source.index_select(dim, torch.minimum((index + offset).clamp(min=0), last)) * w
        for offset, w in zip((-1, 0, 1, 2), weights, strict=True)
    ]
    return taps[0] + taps[1] + taps[2] + taps[3]


def _coordinates(axis: Axis, align_corners: bool, cubic: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Of each output the index of the input at or below it, int64 [after], and how far it is beyond, float32 [after]."""
    if align_corners:
        if not (isinstance(axis.before, int) and isinstance(axis.after, int)):
            fixed = fixed_positions(axis, half=False, align_corners=True)
            return fixed.whole(), fixed.fraction()
        ratio = np.float32(axis.before - 1) / np.float32(max(axis.after - 1, 1))
        return _tables(positions(ratio, axis.longest, half=False), axis)
    known = axis.known_ratio
    if known is None:
        fixed = fixed_centres(axis)
        index, weight = fixed.whole() - 1, fixed.fraction()
        # Linear takes what lies before the first element as the first element.
        return (index, weight) if cubic else (index.clamp(min=0), torch.where(index < 0, 0.0, weight))
    centre = centres(known, axis.longest)
    index, weight = _tables(centre if cubic else np.maximum(centre, 0), axis)
    if not cubic and keeps_size(axis):
        # Whatever the scale factor, linear copies an axis that keeps its size. Cubic doesn't.
        kept = as_tensor(axis.after) == as_tensor(axis.before)
        index = torch.where(kept, table(np.arange(axis.longest), axis), index)
        weight = torch.where(kept, 0.0, weight)
    return index, weight


def _tables(at: np.ndarray, axis: Axis) -> tuple[torch.Tensor, torch.Tensor]:
    whole = np.floor(at)
    return table(whole.astype(np.int64), axis), table(at - whole, axis)


FORM = Form(
    frozenset({"upsample_linear1d", "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d"}), _write
)
