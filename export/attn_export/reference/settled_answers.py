"""Whether PyTorch's answers at a case are settled: rounding alone, of the inputs or on the way, hardly moves them.

A graph rounds in another order than PyTorch does. Where that is enough to move the answers (a bias of 0.2 on a picture of
1e-3, whose mean a norm then takes away; two of a detector's candidates that are all but equally good), a difference says
nothing about the graph.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Tolerance, compare_all
from attn_runtime.errors import CaptureError
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from .draw import Draw, Drawn

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
#: Operators that choose among numbers: what comes after depends on which was greater, however little.
_CHOOSING = ("topk", "sort", "argsort", "argmax", "argmin", "kthvalue", "nms")
#: How often noise is made, for one in four may move ten times what the others do, and how often other rows are drawn where it
#: moves all of them.
_NOISES, _DRAWS = 3, 3
#: What may move a tenth of what is allowed passes: no other noise moves it by as much as is allowed. The usual answer by far.
_CLEARLY = 10
#: Tensors of more elements are left as they are: large weights, beside the smaller ones that are moved.
_MOST_ELEMENTS = 1 << 18


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
        with RoundingNoise(0):  # both at once, since a call of a large module takes long
            moved = compare_all(answer.outputs, ask(case, _nudged(case.inputs)).outputs, tolerance)
        if all(d.max_error <= d.limit / _CLEARLY for d in moved):
            return answer
        moved = compare_all(answer.outputs, ask(case, _nudged(case.inputs)).outputs, tolerance)
        # Half of the limit is the graph's own: what rounds otherwise inside moves the answers as much as this does.
        far = [d for d in moved if not d.max_error <= d.limit / 2]
        for seed in range(_NOISES):
            if far:
                break
            with RoundingNoise(seed):
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


def chooses(ask: Ask, case: Case[Arrays], inputs: Arrays) -> bool:
    """Whether an operator that PyTorch runs at `case`, with these inputs, chooses among numbers that have been computed."""
    choices = _Choices()
    with choices:
        ask(case, inputs)
    return choices.any


def settled_draw(draw: Draw, ask: Ask, tolerance: Tolerance) -> Draw:
    """`draw`, with the inputs of another row in the place of rows whose answers are not settled.

    A row is what lies at one index of the first axis of every input and output; where these have no such axis in common, all
    is drawn anew. What no draw settles stays as it was drawn.
    """

    def drawn(sizes: Mapping[str, int], seed: int) -> Drawn:
        first = draw(sizes, seed)
        for number in range(_DRAWS):
            # Far from the seeds of other cases, which are counted from one another's.
            one = first if number == 0 else draw(sizes, seed + 7919 * number)
            case = Case("draw", one.sizes, one.inputs, {})
            moved = _moved_rows(case, ask, tolerance)
            if not moved.any():
                return one
            if not moved.all():
                kept = np.flatnonzero(~moved)
                rows = np.where(moved, kept[np.arange(len(moved)) % len(kept)], np.arange(len(moved)))
                return Drawn({name: value[rows] for name, value in one.inputs.items()}, one.sizes)
        return first

    return drawn


def _moved_rows(case: Case[Arrays], ask: Ask, tolerance: Tolerance) -> np.ndarray:
    """bool [rows]: whether rounding moves what is answered there by more than allowed; one for all where there are no rows."""
    answer = ask(case, case.inputs)
    lengths = {value.shape[:1] for value in [*case.inputs.values(), *answer.outputs.values()]}
    rows = next(iter(lengths))[0] if len(lengths) == 1 and () not in lengths else 1
    moved = np.zeros(rows, bool)
    for seed in range(_NOISES):
        with RoundingNoise(seed):
            other = ask(case, case.inputs).outputs
        for found in compare_all(answer.outputs, other, tolerance):
            before, after = answer.outputs[found.output], other.get(found.output)
            if found.max_error <= found.limit and found.passed:
                continue
            if rows == 1 or after is None or before.shape != after.shape:
                moved[:] = True
            else:
                off = np.abs(before.astype(np.float64) - after.astype(np.float64)).reshape(rows, -1)
                moved |= ~(off.max(axis=1, initial=0.0) <= found.limit)
    return moved


class _Choices(TorchDispatchMode):
    """Sees operators that choose."""

    supports_higher_order_operators = True
    any: bool = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packet = getattr(func, "overloadpacket", None)
        if packet is not None and packet.__name__ in _CHOOSING:
            self.any = self.any or (isinstance(args[0], torch.Tensor) and args[0].is_floating_point())
        return func(*args, **(kwargs or {}))


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


def _in_place(func: Any) -> bool:
    """Whether the operator writes its first argument and answers it, as silu_ does."""
    first = func._schema.arguments[:1]
    return bool(first and first[0].alias_info is not None and first[0].alias_info.is_write)


class RoundingNoise(TorchDispatchMode):
    """While it is open, what operators that round read is moved by a rounding, up or down, element by element.

    A sum in another order is the exact sum of slightly other terms (backward error: N. Higham, Accuracy and Stability of
    Numerical Algorithms, 2002). Whole numbers stay: models compare them.
    """

    #: torch.cond and the like run as they are.
    supports_higher_order_operators = True

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self._seed, self._random = seed, random.Random(seed)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        packet = getattr(func, "overloadpacket", None)  # torch.cond has none
        name = packet.__name__.lstrip("_").removeprefix("native_") if packet is not None else ""
        if not (name.startswith(_ROUNDING) or name in _ALONE):
            return func(*args, **(kwargs or {}))
        found = func(*(self._moved_in(arg) for arg in args), **(kwargs or {}))
        if not _in_place(func):
            return found
        return args[0].copy_(found)  # what was moved is a copy, and others look at the tensor itself

    def _moved_in(self, argument: Any) -> Any:
        if isinstance(argument, torch.Tensor):
            return self._moved(argument)
        return tree_map_only(torch.Tensor, self._moved, argument) if isinstance(argument, (tuple, list)) else argument

    def _moved(self, read: torch.Tensor) -> torch.Tensor:
        count = read.numel()
        if not read.dtype.is_floating_point or read.layout != torch.strided or count > _MOST_ELEMENTS:
            return read
        # Drawn once, and read from another place on for each tensor: to draw anew took most of the time.
        start = self._random.randrange(_MOST_ELEMENTS)
        factors = _factors(self._seed, read.dtype)[start : start + count].view(read.shape).to(read.device)
        # Beyond what has digits behind the point all are whole: nothing overflows.
        return torch.where(read == read.round(), read, read * factors)


@cache
def _factors(seed: int, dtype: torch.dtype) -> torch.Tensor:
    """A rounding up or down, to multiply with: [2 * _MOST_ELEMENTS]."""
    with torch.inference_mode(False):  # or it could be used in inference mode alone
        up = torch.rand(2 * _MOST_ELEMENTS, generator=torch.Generator().manual_seed(seed)) < 0.5
        step = torch.finfo(dtype).eps
        return torch.where(up, 1 + step, 1 - step).to(dtype)
