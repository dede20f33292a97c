"""interpolate(..., antialias=True) between two fixed sizes: a product with a matrix along each axis.

TensorRT's parser refuses a Resize with antialias, and ONNX Runtime's differs from PyTorch's for scale factors. The
matrix is PyTorch's own, read from what it makes of a unit matrix. Sizes that vary are left to Resize.
"""

from __future__ import annotations

import torch

from ..building_blocks import Call, Form, arguments, constant, value
from .axes import Axis, axes_of

#: Elements of one matrix: 4 MB in float32.
_MOST = 1 << 20


def _write(node: torch.fx.Node) -> Call | None:
    given = list(arguments(node).values())
    source, output_size, align_corners = given[:3]
    operator = node.target
    scales = given[3] if operator._overloadname == "vec" else list(given[3:])  # type: ignore[union-attr]
    tensor = value(source)
    axes = axes_of(tensor.shape[2:], value(output_size), value(scales))
    if not tensor.is_floating_point() or not all(a.static and a.before * a.after <= _MOST for a in axes):
        return None
    base = getattr(torch.ops.aten, operator._schema.name.removeprefix("aten::")).default  # type: ignore[union-attr]
    matrices = [None if a.same else _matrix(base, a, align_corners) for a in axes]
    return Call(resized, (source,), {"matrices": matrices, "sizes": [int(a.after) for a in axes]})


def _matrix(operator: torch._ops.OpOverload, axis: Axis, align_corners: bool) -> list[float]:
    """[after, before], flat: what the operator makes of each row of a picture."""
    before, after = int(axis.before), int(axis.after)
    unit = torch.eye(before)[None, None]
    return operator(unit, [after, before], align_corners, axis.scale, None).flatten().tolist()  # type: ignore[no-any-return]


def resized(source: torch.Tensor, matrices: list[list[float] | None], sizes: list[int]) -> torch.Tensor:
    """source [N, C, H, W] -> [N, C, *sizes]; a matrix [after, before], flat, for each axis that changes."""
    rows, columns = (
        None if numbers is None else constant(numbers, _MOST).reshape(size, -1).to(source.dtype)
        for numbers, size in zip(matrices, sizes, strict=True)
    )
    if rows is not None:
        source = rows @ source
    return source if columns is None else source @ columns.transpose(0, 1)


FORM = Form(frozenset({"_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa"}), _write)
