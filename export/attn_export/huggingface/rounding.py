"""How far PyTorch's own fp32 answers are from its fp64 ones: no graph can be held closer than a multiple of that.

Deep trained models amplify rounding, so that another order of the same sums is further off than a limit which suits a
small one. What is allowed then is stated, not guessed: a multiple of what fp32 itself was measured to be off.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from attn_runtime.compare import Tolerance
from torch import Tensor, nn

#: How many times its own distance from fp64 another fp32 runtime may be off.
MULTIPLE = 8
#: Parameters beyond which no copy in fp64 is made.
_MOST_PARAMETERS = 1_000_000_000


def measured_tolerance(
    model: nn.Module, view: Callable[[nn.Module], nn.Module], *examples: Sequence[Tensor]
) -> tuple[Tolerance, str | None]:
    """The default, or MULTIPLE times the largest distance of fp32 from fp64 over the outputs of `view` for each of `examples`,
    its inputs, of each output's largest value, where that is more; and a note that says so, None for the default."""
    usual = Tolerance()
    distance = max(_distances(model, view, examples), default=0.0)
    if MULTIPLE * distance <= usual.rtol:
        return usual, None
    rtol = float(f"{MULTIPLE * distance:.1e}")
    return Tolerance(usual.atol, rtol), (
        f"rtol {rtol:g} instead of {usual.rtol:g}: PyTorch's fp32 answers are {distance:.1e} of their largest value off its "
        f"own fp64 ones, and {MULTIPLE} times that is allowed; --rtol says otherwise"
    )


@torch.no_grad()
def _distances(
    model: nn.Module, view: Callable[[nn.Module], nn.Module], examples: Sequence[Sequence[Tensor]]
) -> list[float]:
    """Of each example that has one: none where a copy in fp64 would be too large, or has no finite answer."""
    if sum(p.numel() for p in model.parameters()) > _MOST_PARAMETERS:
        return []
    narrow, wide = view(model), view(copy.deepcopy(model).double())
    found = []
    for inputs in examples:
        answers = narrow(*inputs)
        try:
            exact = wide(*(t.double() if t.is_floating_point() else t for t in inputs))
        except (RuntimeError, TypeError, ValueError):  # code that writes float32 into its middle
            continue
        worst = _worst(answers, exact)
        if worst < 1e-2:  # further apart it is no rounding, and nothing to build a limit on
            found.append(worst)
    return found


def _worst(answers: Any, exact: Any) -> float:
    worst = 0.0
    for got, expected in zip(_tensors(answers), _tensors(exact), strict=True):
        largest = float(expected.abs().max())
        if not (expected.numel() and largest > 0):
            continue
        worst = max(worst, float((got.double() - expected.double()).abs().max()) / largest)
    return worst


def _tensors(answer: Any) -> list[Tensor]:
    if isinstance(answer, Tensor):
        return [answer]
    return list(answer.values() if isinstance(answer, dict) else answer)
