"""Where the token of a step stands, as the number that a model's code takes it for.

Code written for a cache of a known length adds to that length, counts from it (torch.arange) and asks whether it is 0. As a
tensor it is added to, but counting from a tensor makes a result of unknown size, and asking makes a branch on data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree


class Place:
    """`at` + `more`: an int64 tensor, of one place for all rows [] or of each row's own [B, 1], and a number.

    It is never 0: a step comes behind a prompt, which has a token at least.
    """

    def __init__(self, at: Tensor, more: int = 0) -> None:
        self.at, self.more = at, more

    def tensor(self) -> Tensor:
        return self.at + self.more if self.more else self.at

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.tensor(), name)

    def __add__(self, other: Any) -> Any:
        # As a function of both, so that who watches functions sees that a place takes part.
        return Place(self.at, self.more + other) if isinstance(other, int) else torch.add(other, self)  # type: ignore[call-overload]

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        if isinstance(other, Place) and other.at is self.at:
            return self.more - other.more
        return Place(self.at, self.more - other) if isinstance(other, int) else self.tensor() - other

    def __index__(self) -> int:
        return self.tensor().__index__()

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> Any:
        return False if other == 0 else self.tensor() == other

    def __gt__(self, other: Any) -> Any:
        if isinstance(other, int) and other <= 0:
            return True
        # Whether a table is too short is asked; a row is never so long, and the checks of the graph would tell.
        return False if torch.compiler.is_compiling() else self.tensor() > other

    __hash__ = None  # type: ignore[assignment]

    @classmethod
    def __torch_function__(
        cls, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """A function of tensors is given the tensor."""
        args, kwargs = pytree.tree_map(lambda x: x.tensor() if isinstance(x, Place) else x, (args, kwargs or {}))
        return function(*args, **kwargs)


class SlicedFrom(TorchFunctionMode):
    """While it is entered, tensor[:, place : place + n] is the `n` entries from there on, for a place of all rows.

    As a slice, whose ends are Python's numbers, it would be one for data.
    """

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is Tensor.__getitem__:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            args = (args[0], tuple(_entries(part) for part in index)) if any(map(_is_sliced, index)) else args
        return function(*args, **(kwargs or {}))


class EachRow(TorchFunctionMode):
    """While it is entered, the places of rows [B, n] pass for those of one row, [n], with code that counts for a whole batch.

    Such code puts an axis for the batch in front (unsqueeze(0), [None]), repeats along it, or takes it away (squeeze(0)).
    Here that axis is there, and stays. `given` are places [B, n] that pass for [1, n].
    """

    def __init__(self, given: Tensor | None = None) -> None:
        super().__init__()
        #: By id: tensors [B, ...] that pass for [...], and those that pass for [1, ...]. Held, so that no id is used again.
        self._one: dict[int, Tensor] = {}
        self._in_front: dict[int, Tensor] = {} if given is None else {id(given): given}

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if id(first) in self._one and (axes := _axes_in_front(function, args[1:], kwargs)):
            assert isinstance(first, Tensor)
            found = first.view(first.shape) if axes == 1 else first[(slice(None), *[None] * (axes - 1))]
            self._in_front[id(found)] = found
            return found
        if id(first) in self._in_front and _leaves_the_batch(function, args[1:], kwargs):
            return first
        found = function(*args, **kwargs)
        if _counts(function, args) or (function is F.embedding and id(first) in self._one):
            self._one[id(found)] = found
        return found


def _counts(function: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Whether the places of rows are added to [n]."""
    if function not in (torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__):
        return False
    place, other = sorted(args, key=lambda x: not isinstance(x, Place))
    return isinstance(place, Place) and place.at.ndim == 2 and isinstance(other, Tensor) and other.ndim == 1


def _axes_in_front(function: Callable[..., Any], rest: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    """How many axes are put in front of a tensor by a call that does nothing else; 0 for any other call."""
    if function in (torch.unsqueeze, Tensor.unsqueeze):
        return int((*rest, kwargs.get("dim"))[0] == 0)
    if function is not Tensor.__getitem__:
        return 0
    index = rest[0] if isinstance(rest[0], tuple) else (rest[0],)
    axes = next((n for n, part in enumerate(index) if part is not None), len(index))
    return axes if all(isinstance(part, slice) and part == slice(None) for part in index[axes:]) else 0


def _leaves_the_batch(function: Callable[..., Any], rest: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether a call repeats [1, ...] for a batch, or takes that axis away."""
    if function in (torch.squeeze, Tensor.squeeze):
        return bool((*rest, kwargs.get("dim"))[0] == 0)
    sizes = tuple(rest[0]) if rest and isinstance(rest[0], (tuple, list)) else rest
    return function is Tensor.repeat and set(sizes[1:]) == {1}


def _is_sliced(part: Any) -> bool:
    return isinstance(part, slice) and isinstance(part.start, Place)


def _entries(part: Any) -> Any:
    if not _is_sliced(part):
        return part
    if not isinstance(part.stop, Place) or part.step not in (None, 1) or part.start.ndim:
        raise TypeError("a slice from the place of a token to anything else than a place")
    return part.start.tensor() + torch.arange(part.stop - part.start)


@contextmanager
def counted_from() -> Iterator[None]:
    """While it is entered, torch.arange(place, place + n) is `n` places from there on: [n], or [B, n] where rows differ."""
    original = torch.arange

    def arange(*args: Any, **kwargs: Any) -> Tensor:
        start, end, step = (*args, None, None, None)[:3]
        start, end, step = kwargs.get("start", start), kwargs.get("end", end), kwargs.get("step", step)
        if not isinstance(start, Place):
            return original(*args, **kwargs)
        if not isinstance(end, Place) or step not in (None, 1):
            raise TypeError("counting from the place of a token to anything else than a place")
        kept = {name: value for name, value in kwargs.items() if name in ("dtype", "device")}
        counted: Tensor = original(end - start, **kept) + start
        return counted

    with mock.patch.object(torch, "arange", arange):
        yield
