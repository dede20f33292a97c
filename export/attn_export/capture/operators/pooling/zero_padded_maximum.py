"""A max pool of what was padded with zeros: the zeros count, so nothing may move them into the pool.

A MaxPool's own padding is -inf. ONNX Runtime (1.31.1, its Pad_Fusion), onnxsim and onnxoptimizer make one of
Pad(0) -> MaxPool all the same, and a window of negative numbers at the border is answered with the greatest of them instead
of 0 (findings/ort-pads-a-maximum-with-nothing.sh). A Max between the two, with -inf, changes no number and keeps them apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from ..building_blocks import Call, Form, arguments, value

_PADS = frozenset({"aten::pad", "aten::constant_pad_nd"})


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    source = given.pop("self")
    if not value(source).is_floating_point() or not _zeros_around(source):
        return None
    return Call(_FORMS[node.target._schema.name.removeprefix("aten::")], (source, *given.values()), {})  # type: ignore[union-attr]


def _zeros_around(node: torch.fx.Node) -> bool:
    name = getattr(getattr(node.target, "_schema", None), "name", "")
    if name not in _PADS:
        return False
    given = arguments(node)
    return given.get("mode", "constant") == "constant" and not given["value"]


def kept(x: torch.Tensor) -> torch.Tensor:
    """x, which a pool is not fused into."""
    return torch.maximum(x, x.new_full((), -math.inf))


def max_pool2d(x: torch.Tensor, *how: Any) -> torch.Tensor:
    """x [N, C, H, W] or [C, H, W]; how: kernel, stride, padding, dilation, ceil_mode."""
    return torch.max_pool2d(kept(x), *how)


def max_pool3d(x: torch.Tensor, *how: Any) -> torch.Tensor:
    """x [N, C, D, H, W] or [C, D, H, W]; how as of max_pool2d."""
    return torch.max_pool3d(kept(x), *how)


_FORMS: dict[str, Callable[..., torch.Tensor]] = {"max_pool2d": max_pool2d, "max_pool3d": max_pool3d}

FORM = Form(frozenset(_FORMS), _write)
