"""avg_pool over windows that are as large as all there is, and by another divisor than their size.

The first is the mean. transformers' EfficientNet pools with windows of 2560 x 2560 over what is left of a picture, 7 x 7, and
TensorRT has no windows of over 100,000 elements (TensorRT-RTX 1.7), however small what lies under them is.

The exporter drops `divisor_override` and answers the mean (findings/torch-exporter-drops-the-divisor.sh).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from ..building_blocks import Call, CanNotWrite, Form, Size, arguments, value


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    source, axes = given["self"], int(node.target._schema.name[-2])  # type: ignore[union-attr]
    windows, padding = (_of_each_axis(given[name], axes) for name in ("kernel_size", "padding"))
    divisor = given.get("divisor_override")
    sizes, answered = value(source).shape[-axes:], value(node).shape[-axes:]
    whole = all(statically_known_true(size <= window) for size, window in zip(sizes, windows, strict=True))
    if whole and all(statically_known_true(size == 1) for size in answered) and not any(padding):
        return Call(over_all, (source, axes, divisor), {})
    if not divisor:
        return None
    if given["ceil_mode"]:
        raise CanNotWrite(
            "an average pool with a divisor of its own and windows that are cut off at the end (ceil_mode)"
        )
    strides = _of_each_axis(given["stride"] or windows, axes)
    return Call(divided, (source, windows, strides, padding, divisor), {})


def _of_each_axis(given: int | Sequence[Size], axes: int) -> list[Size]:
    """One number stands for all axes."""
    numbers: list[Size] = [given] if isinstance(given, int) else list(given)
    return numbers * axes if len(numbers) == 1 else numbers


def over_all(source: torch.Tensor, axes: int, divisor: int | None) -> torch.Tensor:
    """source [..., *sizes] -> [..., 1, ...]: the mean over the last `axes`, or the sum by `divisor`."""
    last = list(range(-axes, 0))
    return source.sum(last, keepdim=True) / divisor if divisor else source.mean(last, keepdim=True)


def divided(
    source: torch.Tensor, windows: list[int], strides: list[int], padding: list[int], divisor: int
) -> torch.Tensor:
    """The sums of the windows, zeros around them, by `divisor`."""
    pool = torch.nn.functional.avg_pool2d if len(windows) == 2 else torch.nn.functional.avg_pool3d
    return pool(source, windows, strides, padding, count_include_pad=True) * (math.prod(windows) / divisor)


FORM = Form(frozenset({"avg_pool1d", "avg_pool2d", "avg_pool3d"}), _write)
