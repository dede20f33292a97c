"""Whether PyTorch's answers at a case are settled: rounding alone, of the inputs or on the way, hardly moves them.

A graph rounds in another order than PyTorch does. Where that is enough to move the answers (a bias of 0.2 on a picture of
1e-3, whose mean a norm then takes away), a difference says nothing about the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Tolerance, compare_all
from attn_runtime.errors import CaptureError
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

#: PyTorch: the case with these inputs, and what it answers to them. CaptureError where it fails.
Ask = Callable[[Case[Arrays], Arrays], Case[Arrays]]

#: By how much, relative, the inputs are moved: 4 roundings of float32.
_NUDGE = 2.0**-21
#: Operators whose last digits differ between engines: sums in another order, functions by another polynomial. Beginnings
#: of names, without underscores and "native_": inference mode shows the composite ones (conv1d), other modes their parts.
_ROUNDING = (
    "mm", "bmm", "addmm", "baddbmm", "addbmm", "addmv", "mv", "dot", "linear", "matmul", "einsum", "bilinear", "conv",
    "layer_norm", "group_norm", "batch_norm", "instance_norm", "rms_norm", "norm", "linalg_vector_norm", "softmax",
    "log_softmax", "safe_softmax", "scaled_dot_product", "multi_head_attention", "lstm", "gru", "rnn", "mkldnn",
    "mean", "sum", "cumsum", "prod", "var", "std", "logsumexp", "exp2", "expm1", "log2", "log10", "log1p",
    "sin", "cos", "tan", "sigmoid", "erf", "gelu", "silu", "mish", "softplus", "elu", "pow", "rsqrt",
)  # fmt: skip
#: Such whose names are also beginnings of others (expand, logical_and).
_ALONE = frozenset({"exp", "log"})
#: Tensors of more elements are left as they are: large weights, beside the smaller ones that are moved.
_MOST_ELEMENTS = 1 << 20


def settled(
    case: Case[Arrays], ask: Ask, tolerance: Tolerance, usual: Callable[[], Case[Arrays]] | None = None
) -> Case[Arrays] | str:
    """What PyTorch answers at `case`, or why that proves nothing: it fails there, its answers are not finite (where those
    of `usual`, of the same sizes, are), or rounding alone, of the inputs or of what operators read, moves them by about as
    much as the tolerance allows."""
    try:
        answer = ask(case, case.inputs)
        if not as_finite(answer, usual):
            return "PyTorch's answers are not finite"
        moved = compare_all(answer.outputs, ask(case, _nudged(case.inputs)).outputs, tolerance)
        # Half of the limit is the graph's own: what rounds otherwise inside moves the answers as much as this does.
        far = [d for d in moved if not d.max_error <= d.limit / 2]
        if not far:
            with RoundingNoise():
                moved = compare_all(answer.outputs, ask(case, case.inputs).outputs, tolerance)
            # This much noise is two or three times what another order of sums was seen to make.
            far = [d for d in moved if not d.max_error <= d.limit]
    except CaptureError:
        return "PyTorch itself fails"
    if not far:
        return answer
    return (
        f"PyTorch's own answers move by {far[0].max_error:.1e} (limit {far[0].limit:.1e}) when rounding alone moves the "
        "inputs or what is computed of them"
    )


def as_finite(answer: Case[Arrays], usual: Callable[[], Case[Arrays]] | None) -> bool:
    """No NaN, and no more infinities than at usual values: masked scores may be infinite at any."""
    for name, value in answer.outputs.items():
        if value.dtype.kind != "f":
            continue
        infinite = int(np.isinf(value).sum())
        if np.isnan(value).any() or (infinite and usual and infinite > np.isinf(usual().outputs[name]).sum()):
            return False
    return True


def _nudged(inputs: Arrays) -> Arrays:
    """Each float a little larger or smaller."""
    rng = np.random.default_rng(0)
    return {
        n: (v * (1 + _NUDGE * rng.choice([-1.0, 1.0], v.shape))).astype(v.dtype) if v.dtype.kind == "f" else v
        for n, v in inputs.items()
    }


class RoundingNoise(TorchDispatchMode):
    """While it is open, what operators that round read is moved by a rounding, up or down, element by element.

    A sum in another order is the exact sum of slightly other terms (backward error: N. Higham, Accuracy and Stability of
    Numerical Algorithms, 2002). Whole numbers stay: models compare them.
    """

    #: torch.cond and the like run as they are.
    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packet = getattr(func, "overloadpacket", None)  # torch.cond has none
        name = packet.__name__.lstrip("_").removeprefix("native_") if packet is not None else ""
        if name.startswith(_ROUNDING) or name in _ALONE:
            args = tree_map_only(torch.Tensor, self._moved, tuple(args))
        return func(*args, **(kwargs or {}))

    def _moved(self, read: torch.Tensor) -> torch.Tensor:
        if not read.dtype.is_floating_point or read.layout != torch.strided or read.numel() > _MOST_ELEMENTS:
            return read
        up = torch.rand(read.shape, generator=self._generator).to(read.device) < 0.5
        step = torch.finfo(read.dtype).eps
        moved = read * torch.where(up, 1 + step, 1 - step).to(read.dtype)
        return torch.where((read == read.round()) | ~moved.isfinite(), read, moved)
