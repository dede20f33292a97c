"""fold: overlapping windows summed to a picture, as a transposed convolution whose kernel puts each element in its place.

The exporter writes Col2Im, which TensorRT's parser does not know. A product with 1 is exact, so that the sums are those
of PyTorch; the kernel has (window)**2 numbers for each channel.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from .building_blocks import MOST_CONSTANTS, Call, Form, Size, arguments, constant, value


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    windows = value(given["self"])
    rows = windows.shape[-2]
    numbers = math.prod(_spans(given["kernel_size"], given["dilation"]))
    if not windows.is_floating_point() or not isinstance(rows, int) or rows * numbers > MOST_CONSTANTS:
        return None
    return Call(folded, tuple(given.values()), {})


def folded(
    windows: torch.Tensor,
    output_size: list[Size],
    kernel_size: list[int],
    dilation: list[int],
    padding: list[int],
    stride: list[int],
) -> torch.Tensor:
    """windows [N, C * kh * kw, L] or without N -> [N, C, *output_size]."""
    batched = windows if windows.dim() == 3 else windows.unsqueeze(0)
    rows, spans = int(batched.shape[1]), _spans(kernel_size, dilation)
    # Dilated by zeros in the kernel: TensorRT-RTX (1.7.1) builds no transposed convolution with a stride and a dilation.
    kernel = constant(_places(rows, kernel_size, dilation)).reshape(rows, 1, *spans).to(windows.dtype)
    axes = list(zip(output_size, spans, padding, stride, strict=True))
    counts = [(size + 2 * p - span) // s + 1 for size, span, p, s in axes]
    picture = F.conv_transpose2d(
        batched.reshape(batched.shape[0], rows, counts[0], counts[1]),
        kernel,
        stride=stride,
        groups=rows // math.prod(kernel_size),
    )
    for axis, (size, span, p, s) in enumerate(axes, 2):
        # The last window may end up to a step before the picture does.
        known = isinstance(size, int)
        missing = max(0, size + p - (counts[axis - 2] - 1) * s - span) if known else s - 1
        if missing:
            picture = F.pad(picture, [0, missing] if axis == 3 else [0, 0, 0, missing])  # type: ignore[list-item]
        picture = picture.narrow(axis, p, size)
    return picture if windows.dim() == 3 else picture.squeeze(0)


def _spans(kernel_size: list[int], dilation: list[int]) -> list[int]:
    return [d * (k - 1) + 1 for d, k in zip(dilation, kernel_size, strict=True)]


def _places(rows: int, kernel_size: list[int], dilation: list[int]) -> list[float]:
    """[rows, *spans], flat: row r is the tap r % taps of its channel."""
    kernels = np.zeros((rows, *_spans(kernel_size, dilation)), np.float32)
    for row in range(rows):
        high, wide = divmod(row % math.prod(kernel_size), kernel_size[1])
        kernels[row, high * dilation[0], wide * dilation[1]] = 1
    return kernels.ravel().tolist()


FORM = Form(frozenset({"col2im"}), _write)
