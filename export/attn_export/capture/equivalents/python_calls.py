"""Python's own ways to use a size, which make a number of the example's: len(), range(), math.sqrt(), ...

torch.export (2.13) takes a size through `shape`, arithmetic and torch.tensor, and fixes it where C code asks for a number.
Here those calls take the way that it can follow, for symbolic sizes only.
"""

from __future__ import annotations

import builtins
import math
import os
import sys
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.utils import _pytree as pytree

_SYMBOLIC = (torch.SymInt, torch.SymFloat)
#: Beside sqrt, which PyTorch can take of a size, those that become a tensor of one number.
_FUNCTIONS = ("log", "log2", "log10", "log1p", "exp", "tanh", "sin", "cos")


@contextmanager
def python_sizes(module: torch.nn.Module, note: Callable[[str], Any]) -> Iterator[None]:
    """Open while `module` is captured; `note` hears the name of each call that was replaced."""

    def symbolic(number: Any) -> bool:
        return isinstance(number, _SYMBOLIC)

    def length(thing: Any) -> Any:
        if isinstance(thing, torch.Tensor) and thing.dim() and symbolic(thing.shape[0]):
            note("len call")
            return thing.shape[0]
        return builtins.len(thing)

    def steps(*ends: Any) -> Any:
        start, stop, step = (0, *ends, 1) if builtins.len(ends) == 1 else (*ends, 1)[:3]
        if not (symbolic(start) or symbolic(stop)) or not isinstance(step, int) or step < 2:
            return builtins.range(*ends)
        note("range call")
        # How many there are is the example's number, by a guard on it, and not on the size.
        count = int((stop - start + step - 1) // step)
        return [start + number * step for number in builtins.range(max(0, count))]

    def sqrt(number: Any) -> Any:
        if not symbolic(number):
            return math_sqrt(number)
        note("math.sqrt call")
        return number**0.5

    def of_size(name: str) -> Callable[..., Any]:
        original, function = getattr(math, name), getattr(torch, name)

        def call(number: Any, *base: Any) -> Any:
            if not symbolic(number):
                return original(number, *base)
            note(f"math.{name} call")
            found = function(torch.tensor(number, dtype=torch.get_default_dtype()))
            return found / original(*base) if base else found

        return call

    def as_tensor(data: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if not any(map(symbolic, pytree.tree_leaves(data))):
            return torch_as_tensor(data, *args, **kwargs)
        note("as_tensor call")
        return torch.tensor(data, *args, **kwargs)

    def new_tensor(tensor: torch.Tensor, data: Any, **kwargs: Any) -> torch.Tensor:
        if not any(map(symbolic, pytree.tree_leaves(data))):
            return torch_new_tensor(tensor, data, **kwargs)
        note("new_tensor call")
        return torch.tensor(data, **{"dtype": tensor.dtype, "device": tensor.device, **kwargs})

    def fill_diagonal_(tensor: torch.Tensor, value: Any, wrap: bool = False) -> torch.Tensor:
        if tensor.dim() != 2 or wrap or not any(map(symbolic, tensor.shape)):
            return torch_fill_diagonal(tensor, value, wrap)
        note("fill_diagonal_ call")
        tensor.diagonal().fill_(value)
        return tensor

    math_sqrt, torch_as_tensor = math.sqrt, torch.as_tensor
    torch_new_tensor, torch_fill_diagonal = torch.Tensor.new_tensor, torch.Tensor.fill_diagonal_
    names: dict[str, Callable[..., Any]] = {"len": length, "range": steps}
    with ExitStack() as stack:
        for scope in _scopes(module):
            for name in names.keys() - scope.keys():
                scope[name] = names[name]  # mock.patch.dict would take what the code itself sets meanwhile back as well
                stack.callback(scope.pop, name, None)
        for owner, name, stand_in in (
            (math, "sqrt", sqrt),
            *((math, name, of_size(name)) for name in _FUNCTIONS),
            (torch, "as_tensor", as_tensor),
            (torch.Tensor, "new_tensor", new_tensor),
            (torch.Tensor, "fill_diagonal_", fill_diagonal_),
        ):
            stack.enter_context(mock.patch.object(owner, name, stand_in))
        yield


def _scopes(module: torch.nn.Module) -> list[dict[str, Any]]:
    """Globals of the files that the model's code may be in: those of its classes' packages, and the user's own."""
    packages = {kind.__module__.partition(".")[0] for part in module.modules() for kind in type(part).__mro__}
    packages -= {"torch", "builtins"}
    library = (sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    folders = tuple(f"{folder}{os.sep}" for folder in (*library, Path(__file__).parents[2]))
    found = []
    for name, loaded in list(sys.modules.items()):
        file, scope = getattr(loaded, "__file__", None), getattr(loaded, "__dict__", None)
        if not isinstance(file, str) or scope is None:
            continue
        if name.partition(".")[0] in packages or not file.startswith(folders):
            found.append(scope)
    return found
