"""Tensors out of a torch file that holds other objects too, without importing or calling anything that the file names.

A pickle is a program: it imports what it names, and calls it. Here every name stands for an `Inert`, which takes all
arguments, states and items and does nothing, but for a dozen names that tensors and dicts are made of; for those stand
functions of this file. The machine is the standard library's own in Python, not the one in C: that one would fill a
memo of the length that a file asks for, and calls whatever lies on its stack.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import torch


def _ignore(*_args: Any, **_options: Any) -> None:
    """Static, so that it is the same on an object and on its class: a pickle may name either."""


class Inert:
    """Whatever a file would have imported, made or called. `origin` is what it is called there, as "argparse.Namespace"."""

    origin: ClassVar[str] = ""
    __slots__ = ()

    def __new__(cls, *_args: Any, **_options: Any) -> Inert:
        return super().__new__(cls)

    def __init__(self, *_args: Any, **_options: Any) -> None:
        pass

    append = extend = add = __setstate__ = __setitem__ = staticmethod(_ignore)


#: What makes common things that are no plain data, for messages.
_WORDS = {
    "numpy.core.multiarray._reconstruct": "NumPy array",
    "numpy._core.multiarray._reconstruct": "NumPy array",
    "torch._utils._rebuild_sparse_tensor": "sparse tensor",
    "torch._utils._rebuild_qtensor": "quantised tensor",
}


def origin_of(value: object) -> str | None:
    """What an Inert stands for, or its class; None for anything else."""
    if isinstance(value, Inert):
        return _WORDS.get(value.origin, value.origin)
    return value.origin if isinstance(value, type) and issubclass(value, Inert) else None


@lru_cache(maxsize=256)
def _inert(origin: str) -> type[Inert]:
    return type("Inert", (Inert,), {"origin": origin, "__slots__": ()})


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *rest: Any) -> Any:
    """What `torch._utils._rebuild_tensor_v2` makes, without gradient and hooks. `rest`: both of these, then flags."""
    _check(storage, offset, size, stride)
    if rest[2:] and rest[2]:  # a conjugate or a negative, kept as a flag: no weight is
        return _inert("a lazy conjugate")()
    return torch._utils._rebuild_tensor_v2(storage, offset, size, stride, False, OrderedDict())


def _tensor_with_dtype(
    storage: Any, offset: int, size: Any, stride: Any, _grad: Any, _hooks: Any, dtype: Any, flags: Any = None
) -> Any:
    """What `torch._utils._rebuild_tensor_v3` makes: of the types that no kind of storage is named after."""
    _check(storage, offset, size, stride)
    if not isinstance(dtype, torch.dtype) or flags:
        return _inert("a tensor of an unknown type")()
    return torch._utils._rebuild_tensor_v3(storage, offset, size, stride, False, OrderedDict(), dtype)


def _check(storage: Any, offset: Any, size: Any, stride: Any) -> None:
    numbers = (offset, *size, *stride)
    if not isinstance(storage, torch.storage.TypedStorage) or any(type(n) is not int or n < 0 for n in numbers):
        raise pickle.UnpicklingError("a tensor is described by other things than a storage and sizes")


def _parameter(data: Any, *_rest: Any) -> Any:
    return data


def _of_type(make: Any, kind: Any, args: Any, _state: Any) -> Any:
    """A tensor with attributes of Python's; of a subclass it would be the subclass that knows what its parts mean."""
    if origin_of(kind) in ("torch.Tensor", "torch.nn.parameter.Parameter") and any(make is m for m in _MAKERS.values()):
        return make(*args)
    return _inert(origin_of(kind) or "a tensor subclass")()


def _dict(*_args: Any) -> dict[Any, Any]:
    return {}


def _ordered_dict(*args: Any) -> OrderedDict[Any, Any]:
    return OrderedDict(*args)


_MAKERS: dict[str, Callable[..., Any]] = {
    "collections.OrderedDict": _ordered_dict,
    "collections.defaultdict": _dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_with_dtype,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _of_type,
}
_DTYPES = {f"torch.{name}": value for name, value in vars(torch).items() if isinstance(value, torch.dtype)}
#: What torch reads of a storage's kind is its dtype. The class itself is not given out: a pickle could write to it.
_BYTES = SimpleNamespace(dtype=torch.uint8)


class _Unpickler(pickle._Unpickler):
    """Calls nothing but `_MAKERS`; sets the state of nothing but the version numbers of a state_dict."""

    dispatch: ClassVar[Any] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]

    def find_class(self, module: str, name: str, /) -> Any:
        origin = f"{module}.{name}"
        if origin in ("torch.storage.UntypedStorage", "torch.UntypedStorage"):
            return _BYTES
        return _MAKERS.get(origin) or _DTYPES.get(origin) or _inert(origin)

    def get_extension(self, code: int) -> None:
        # It would put what it finds into a table that the whole process shares.
        raise pickle.UnpicklingError(f"it names an object by a number, {code}")

    def _made(self, maker: Any, args: Any) -> Any:
        if (origin := origin_of(maker)) is not None:
            return _inert(origin)()
        if any(maker is known for known in _MAKERS.values()):
            return maker(*args)
        raise pickle.UnpicklingError(f"it calls a {type(maker).__name__}")

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], args)

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # keywords
        self.load_reduce()

    def _instantiate(self, maker: Any, args: Any) -> None:
        self.append(self._made(maker, args))

    def load_build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if type(made) is OrderedDict:
            if isinstance(state, dict) and isinstance(state.get("_metadata"), dict):
                made._metadata = state["_metadata"]  # type: ignore[attr-defined]
        elif origin_of(made) is None:
            raise pickle.UnpicklingError(f"it sets the state of a {type(made).__name__}")

    dispatch[pickle.REDUCE[0]] = load_reduce
    dispatch[pickle.NEWOBJ[0]] = load_reduce  # a class and its arguments lie as a function's do
    dispatch[pickle.NEWOBJ_EX[0]] = load_newobj_ex
    dispatch[pickle.BUILD[0]] = load_build


_PICKLE = SimpleNamespace(__name__="inert_pickle", Unpickler=_Unpickler)


def load_tensors(path: Path) -> Any:
    """What `torch.load` makes of a zip file, with an `Inert` in the place of all but plain data, dicts and dense tensors.

    Tensors are mapped from the file. Raises whatever a damaged or hostile file leads to; the caller sees to TorchScript
    archives, which torch.load would hand to another loader.
    """
    return torch.load(path, map_location="cpu", weights_only=False, mmap=True, pickle_module=_PICKLE)
