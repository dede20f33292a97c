"""A function of single indices (a score_mod or mask_mod of flex_attention) at all indices at once.

PyTorch runs it under four vmaps, which torch.export (2.13) can't trace: "a fake tensor in the exported program constant's
list". Here each index is an object that holds all its values on an axis of its own, and hands elementwise operations and
indexing on to the tensor of all values. What means something else on a whole tensor than on its elements is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from attn_runtime.errors import CaptureError
from torch.overrides import TorchFunctionMode

_AXES = 4
#: Functions and methods that act on each element by itself.
_ELEMENTWISE = frozenset(
    """add sub rsub mul div true_divide floor_divide remainder fmod pow neg negative positive abs absolute sign sgn round
    floor ceil trunc square sqrt rsqrt exp exp2 expm1 log log2 log10 log1p sin cos tan tanh sigmoid relu relu6 silu gelu
    softplus elu leaky_relu erf reciprocal where clamp clamp_min clamp_max clip minimum maximum eq ne lt le gt ge less
    less_equal greater greater_equal not_equal subtract multiply divide truediv floordiv mod isinf isnan isneginf isfinite
    logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not bitwise_xor and or xor invert lshift
    rshift bitwise_left_shift bitwise_right_shift to float double half bfloat16 int long bool type type_as masked_fill
    zeros_like ones_like full_like lerp clone detach pos""".split()  # noqa: SIM905
)
_MAKES = frozenset(["new_zeros", "new_ones", "new_full", "new_tensor", "new_empty"])
_OPERATORS = """add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow and rand or ror xor rxor
    lshift rlshift rshift rrshift eq ne lt le gt ge neg pos abs invert""".split()  # noqa: SIM905


def all_indices(
    function: Callable[..., Any], sizes: Sequence[Any], device: torch.device, *scores: torch.Tensor
) -> torch.Tensor:
    """`function([score,] b, h, q, k)` for every b, h, q and k: [batch, heads, queries, keys], or 1 where an axis is not used.

    sizes: how many indices there are on each of the four axes; scores: none, or one tensor of these sizes.
    Raises CaptureError where the function asks for more than elementwise operations and indexing.
    """
    indices = [
        _All(torch.arange(size, device=device).view([-1 if axis == i else 1 for i in range(_AXES)]))
        for axis, size in enumerate(sizes)
    ]
    with _Indexing():
        found = function(*map(_All, scores), *indices)
    if isinstance(found, torch.Tensor) and not found.dim():  # it depends on no index
        return found.view([1] * _AXES)
    if not isinstance(found, _All) or found.own:
        raise _refusal(f"returns a {type(found).__name__}, not one number for each index")
    return found.values


class _All:
    """All values of what is one number (or a row of numbers) for each index: values [B, H, Q, K, *own], an axis that it
    does not depend on of size 1."""

    def __init__(self, values: torch.Tensor) -> None:
        self.values = values

    __hash__ = None  # type: ignore[assignment]

    @property
    def own(self) -> int:
        return self.values.dim() - _AXES

    @property
    def dtype(self) -> torch.dtype:
        return self.values.dtype

    @property
    def device(self) -> torch.device:
        return self.values.device

    @property
    def shape(self) -> torch.Size:
        return self.values.shape[_AXES:]

    @property
    def ndim(self) -> int:
        return self.own

    def dim(self) -> int:
        return self.own

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", str(func)).strip("_")
        if name not in _ELEMENTWISE and name.removeprefix("r") not in _ELEMENTWISE:
            raise _refusal(f"calls {name}")
        kwargs = kwargs or {}
        own = max(_own(a) for a in (*args, *kwargs.values()))
        return cls(func(*(_plain(a, own) for a in args), **{k: _plain(a, own) for k, a in kwargs.items()}))

    def __getattr__(self, name: str) -> Any:
        if name in _MAKES:
            return getattr(self.values, name)
        method = getattr(torch.Tensor, name, None)
        if method is None or name not in _ELEMENTWISE:
            raise _refusal(f"calls {name}")
        return lambda *args, **kwargs: self.__torch_function__(method, (), (self, *args), kwargs)

    def __getitem__(self, index: Any) -> _All:
        axes = range(_AXES)
        places = [torch.arange(self.values.shape[a]).view([-1 if a == i else 1 for i in axes]) for a in axes]
        return _All(self.values[(*places, *_index(index))])

    def __bool__(self) -> bool:
        raise _refusal("branches on an index or a score")

    def __int__(self) -> int:
        raise _refusal("makes a Python number of an index or a score")

    __index__ = __int__

    def __float__(self) -> float:
        raise _refusal("makes a Python number of an index or a score")


def _operator(name: str) -> Callable[..., Any]:
    method = getattr(torch.Tensor, name)
    return lambda self, *other: _All.__torch_function__(method, (), (self, *other))


for _name in _OPERATORS:
    setattr(_All, f"__{_name}__", _operator(f"__{_name}__"))


class _Indexing(TorchFunctionMode):
    """tensor[index, ...], which would ask an index for a Python number."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.__getitem__:
            tensor, index = args
            if any(isinstance(i, _All) for i in (index if isinstance(index, tuple) else (index,))):
                return _All(tensor[_index(index)])
        return func(*args, **(kwargs or {}))


def _index(index: Any) -> tuple[Any, ...]:
    """What to index with: indices, numbers and tensors without axes; what follows them may only be whole axes."""
    parts = list(index) if isinstance(index, tuple) else [index]
    while len(parts) > 1 and (parts[-1] is Ellipsis or (isinstance(parts[-1], slice) and parts[-1] == slice(None))):
        parts.pop()
    for part in parts:
        if isinstance(part, (_All, torch.Tensor)):
            whole = part.dtype is not torch.bool and not part.dim()
        else:
            whole = isinstance(part, (int, torch.SymInt)) and not isinstance(part, bool)
        if not whole:
            raise _refusal("indexes a tensor by more than numbers")
    return tuple(p.values if isinstance(p, _All) else p for p in parts)


def _own(argument: Any) -> int:
    return argument.own if isinstance(argument, _All) else argument.dim() if isinstance(argument, torch.Tensor) else 0


def _plain(argument: Any, own: int) -> Any:
    """The values, with as many axes behind those of the indices as the others have."""
    if not isinstance(argument, _All):
        return argument
    values = argument.values
    for _ in range(own - argument.own):
        values = values.unsqueeze(_AXES)
    return values


def _refusal(what: str) -> CaptureError:
    frame: Any = sys._getframe(1)
    ours = (str(Path(torch.__file__).parent), str(Path(__file__).parents[2]))
    while frame is not None and frame.f_code.co_filename.startswith(ours):
        frame = frame.f_back
    where = f" at {Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame is not None else ""
    return CaptureError(
        f"flex_attention: its score_mod or mask_mod{where} {what}, which can't be done for all indices at once; use "
        "elementwise operations (torch.where for a branch) and tensor[index], or scaled_dot_product_attention with a mask"
    )
