"""Which softmax is attention: its result, on its way through the model, is multiplied with values along the softmax's axis.

A router's softmax picks experts, a classifier's is an answer, a softmax over bins meets a constant vector: none of these
is multiplied (matmul, bmm, einsum) with a tensor that depends on the model's input. Tensors are followed by identity in
one plain run of the model, where every size is a number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

Origin = TypeVar("Origin")

_SOFTMAX = frozenset({"softmax", "special_softmax", "_softmax"})
#: Sums of products over an axis of both operands: the axis of the first and of the second, counted from the end.
_PRODUCTS = {
    "matmul": (1, 2),
    "__matmul__": (1, 2),
    "bmm": (1, 2),
    "mm": (1, 2),
    "mv": (1, 1),
    "linear": (1, 1),
    "baddbmm": (1, 2),  # of its second and third argument
    "addmm": (1, 2),
}
#: They move, cut or repeat axes and keep the values.
_LAYOUT = frozenset(
    (
        *("transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis", "t", "T", "mT", "H", "mH", "adjoint"),
        *("reshape", "reshape_as", "view", "view_as", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze"),
        *("expand", "expand_as", "repeat", "tile", "repeat_interleave", "__getitem__", "select", "narrow", "slice"),
        *("chunk", "split", "split_with_sizes", "tensor_split", "unbind", "index_select", "roll", "flip"),
        *("contiguous", "clone"),
    )
)


def name_of(function: Any) -> str:
    """Of a torch function, method, property or operator; overloads of one operator share theirs."""
    owner = getattr(function, "__self__", None)
    if getattr(function, "__name__", "") == "__get__":  # of a property such as Tensor.mT
        return str(getattr(owner, "__name__", ""))
    return str(getattr(function, "__name__", "")).partition(".")[0]


def softmax_axis(function: Any, args: Any, keywords: Any) -> int | None:
    """The axis of a softmax call; None for any other function."""
    if name_of(function) not in _SOFTMAX:
        return None
    axis = args[1] if len(args) > 1 else keywords.get("dim")
    return axis if isinstance(axis, int) else None


class SoftmaxTrace(Generic[Origin]):
    """Follows softmax results; `multiplied` holds the origins of those that met values."""

    def __init__(self, constants: Iterable[Tensor]) -> None:
        self.multiplied: set[Origin] = set()
        # tensor -> its softmax, and the axis that sums to one
        self._followed: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        # weights, and what is made of weights alone
        self._constant: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        for tensor in constants:
            self._constant[tensor] = True

    def begin(self, origin: Origin, result: Tensor, axis: int) -> None:
        self._followed[result] = (origin, axis)

    def follow(self, function: Any, args: Any, keywords: Any, result: Any) -> None:
        """Look at one call of a torch function and what it gave."""
        given = [t for t in tree_leaves((args, keywords)) if isinstance(t, Tensor)]
        results = [t for t in tree_leaves(result) if isinstance(t, Tensor)]
        if not results:
            return
        if all(t in self._constant or isinstance(t, torch.nn.Parameter) for t in given):
            for tensor in results:
                self._constant[tensor] = True
            return
        followed = [t for t in given if t in self._followed]
        name = name_of(function)
        for tensor in followed:
            origin, axis = self._followed[tensor]
            if name in _PRODUCTS or name == "einsum":
                if any(
                    mine is tensor and its_axis == axis and other not in self._constant
                    for mine, its_axis, other in _summed(name, args, keywords)
                ):
                    self.multiplied.add(origin)
                if name != "linear" or axis == tensor.dim() - 1:
                    continue  # heads may be mixed by a linear layer; other products are no weights any more
            for found in results:
                moved = self._axis_in(found, results, tensor, axis, name, function, args, keywords)
                if moved is not None:
                    self._followed[found] = (origin, moved)

    def _axis_in(
        self,
        found: Tensor,
        results: list[Tensor],
        tensor: Tensor,
        axis: int,
        name: str,
        function: Any,
        args: Any,
        keywords: Any,
    ) -> int | None:
        """Where the axis of `tensor` lies in `found`, one of the results; None where it is gone."""
        if name not in _LAYOUT:
            return axis if found.shape == tensor.shape else None
        # A tensor that counts along the axis goes the same way; where it still counts, there is the axis.
        ruler = torch.arange(tensor.shape[axis], device=tensor.device)
        ruler = ruler.view(-1, *[1] * (tensor.dim() - 1 - axis)).expand(tensor.shape).contiguous()
        went = function(*tree_map(lambda t: ruler if t is tensor else t, args), **keywords)
        count = [t for t in tree_leaves(went) if isinstance(t, Tensor)][[t is found for t in results].index(True)]
        varies = [a for a in range(count.dim()) if count.shape[a] > 1 and bool((count != count.narrow(a, 0, 1)).any())]
        return varies[0] if len(varies) == 1 else None


def _summed(name: str, args: Any, keywords: Any) -> Iterator[tuple[Tensor, int, Tensor]]:
    """(operand, its axis that the product sums over, the other operand), both ways."""
    tensors = [t for t in tree_leaves((args, keywords)) if isinstance(t, Tensor)]
    if name == "einsum":
        yield from _summed_by_einsum(args, tensors)
        return
    first, second = tensors[1:3] if name in ("baddbmm", "addmm") else tensors[:2]
    one, other = _PRODUCTS[name]
    yield first, first.dim() - one, second
    yield second, max(second.dim() - other, 0), first


def _summed_by_einsum(args: Any, operands: list[Tensor]) -> Iterator[tuple[Tensor, int, Tensor]]:
    if not isinstance(args[0], str):
        return  # the form with lists of axes, which hardly anybody writes
    inputs, _, output = args[0].replace(" ", "").partition("->")
    terms = inputs.split(",")
    if not output:
        output = "".join(c for c in inputs if c.isalpha() and inputs.count(c) == 1)
    for mine, tensor in zip(terms, operands, strict=True):
        for theirs, other in zip(terms, operands, strict=True):
            for letter in set(mine) & set(theirs) - set(output) - {"."}:
                if tensor is not other:
                    # Counted from the side of the ellipsis where the letter's place is known.
                    behind = len(mine) - 1 - mine.index(letter)
                    ahead = "..." in mine and mine.index("...") > mine.index(letter)
                    yield tensor, mine.index(letter) if ahead else tensor.dim() - 1 - behind, other
