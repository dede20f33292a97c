"""adaptive_avg_pool and interpolate(mode="area"): a product with a matrix of averages along each axis.

The exporter unrolls one window per output for the example's size: its graphs are wrong, or fail, at most other sizes
(138 of 195 lengths for an output of 50). Here a matrix [before, after] holds 1 / window where an input belongs to an
output, and is computed from the sizes in integers. It costs before * after products for each row, and their memory.

Pooling all axes to 1 stays the mean that it is; sizes that never change stay with the exporter, but for three axes.
"""

from __future__ import annotations

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true

from ..building_blocks import Call, Form, Size, arguments, as_tensor, count_to, quotient, value


def _write(node: torch.fx.Node) -> Call | None:
    source, output_size = list(arguments(node).values())[:2]
    tensor, after = value(source), value(output_size)
    before = tensor.shape[-len(after) :]
    pooled = [(b, a) for b, a in zip(before, after, strict=True) if not statically_known_true(b == a)]
    if not tensor.is_floating_point() or all(_is_one(a) for a in after):
        return None
    static = all(isinstance(s, int) for pair in pooled for s in pair)
    if static and (len(after) < 3 or all(b % a == 0 for b, a in pooled)):
        return None
    return Call(pool, (source, output_size), {})


def _is_one(size: Size) -> bool:
    return bool(statically_known_true(size == 1))


def pool(source: torch.Tensor, output_size: list[Size]) -> torch.Tensor:
    """source [..., *sizes] -> [..., *output_size]."""
    rank = len(output_size)
    for at, after in enumerate(output_size):
        dim = at - rank
        before = source.shape[dim]
        if statically_known_true(before == after):
            continue
        if _is_one(after):
            source = source.mean(dim, keepdim=True)
        else:
            weights = _averages(before, after).to(source.dtype)
            source = (source.movedim(dim, -1) @ weights).movedim(-1, dim)
    return source


def _averages(before: Size, after: Size) -> torch.Tensor:
    """float32 [before, after]; windows as in aten/src/ATen/native/AdaptivePooling.h."""
    output, inputs, outputs = count_to(after), as_tensor(before), as_tensor(after)
    start = quotient(output * inputs, outputs)
    end = quotient((output + 1) * inputs + (outputs - 1), outputs)
    place = count_to(before).unsqueeze(-1)
    inside = (place >= start) & (place < end)
    return inside.to(torch.float32) / (end - start).to(torch.float32)


FORM = Form(
    frozenset({*(f"adaptive_avg_pool{n}d" for n in (1, 2, 3)), *(f"_adaptive_avg_pool{n}d" for n in (2, 3))}), _write
)
