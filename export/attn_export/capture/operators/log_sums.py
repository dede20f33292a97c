"""logcumsumexp, logaddexp, logaddexp2, logsigmoid and binary cross-entropy of logits, in forms that neither overflow nor vanish.

The exporter writes log(exp(x) + exp(y)) and log(sigmoid(x)) as they stand: inf or -inf for magnitudes of about 90 and
more, where PyTorch is right. Its logcumsumexp takes off the maximum of the whole row, so that whatever lies 88 below
that maximum is -inf.

logcumsumexp is computed by doubling: after step k each place holds the sum of the 2**k places up to it. That is
log2(T) steps of about ten nodes over the whole tensor, for the largest T of the declared range; no matrix T x T.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from .building_blocks import Call, Form, arguments, bounds, moved_on, value


def _write(node: torch.fx.Node) -> Call | None:
    operator = node.target._schema.name.removeprefix("aten::")  # type: ignore[union-attr]
    given = list(arguments(node).values())
    if not all(value(a).is_floating_point() for a in given if isinstance(a, torch.fx.Node)):
        return None
    if operator == "logcumsumexp" and value(given[0]).dim() == 0:
        return None
    return Call(_FORMS[operator], tuple(given), {})


def log_add_exp(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """log(exp(x) + exp(y)), elementwise; also where both are -inf, or one is inf."""
    top = torch.maximum(x, y)
    finite = torch.where(top.abs() == math.inf, torch.zeros_like(top), top)
    return ((x - finite).exp() + (y - finite).exp()).log() + finite


def log_add_exp2(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """log2(2**x + 2**y), elementwise."""
    return log_add_exp(x * math.log(2), y * math.log(2)) / math.log(2)


def log_cum_sum_exp(x: torch.Tensor, dim: int) -> torch.Tensor:
    """log of the cumulative sum of exp(x) along `dim`."""
    size = x.shape[dim]
    step = 1
    while step < bounds(size)[1]:
        x, step = log_add_exp(x, moved_on(x, dim, step, -math.inf)), step * 2
    return x


def log_sigmoid(x: torch.Tensor) -> torch.Tensor:
    """log(1 / (1 + exp(-x)))."""
    return x.clamp(max=0) - (x.abs().neg().exp() + 1).log()


def binary_cross_entropy_with_logits(
    x: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None, pos_weight: torch.Tensor | None, reduction: int
) -> torch.Tensor:
    """As aten/src/ATen/native/Loss.cpp. reduction: 0 none, 1 mean, 2 sum."""
    positive = 1.0 if pos_weight is None else (pos_weight - 1) * target + 1
    loss = (1 - target) * x - positive * log_sigmoid(x)
    if weight is not None:
        loss = loss * weight
    return loss if reduction == 0 else loss.mean() if reduction == 1 else loss.sum()


_FORMS: dict[str, Callable[..., torch.Tensor]] = {
    "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    "logaddexp": log_add_exp,
    "logaddexp2": log_add_exp2,
    "logcumsumexp": log_cum_sum_exp,
    "log_sigmoid": log_sigmoid,
}

FORM = Form(frozenset(_FORMS), _write)
