"""What a module remembers: a snapshot of its weights, attributes and globals, what changed since, and putting it back.

A graph keeps nothing between calls. What PyTorch keeps can lie in parameters and buffers, in plain attributes of any
submodule, in lists, dicts and small objects they hold, in attributes of its classes, default arguments and closures
of its methods, and in globals of the files that it is written in.
"""

from __future__ import annotations

import collections
import enum
import itertools
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from types import BuiltinFunctionType, CellType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from attn_runtime.compare import Tolerance, compare
from torch import nn
from torch.nn.parameter import is_lazy

#: Tensors are copied while they total no more than this; the rest is known by its fingerprint and can't be put back.
MOST_COPIED = 64 << 20
#: Containers and objects are looked into down to this depth below an attribute, and up to this many items.
_DEPTH, _ITEMS = 5, 4096
#: What every module has: its own bookkeeping, and the mode it is in.
_BOOKKEEPING = frozenset(vars(nn.Module()))
#: Two runs of one kernel on the same numbers may round differently; a state that moves by less than this does not move.
_ROUNDING = Tolerance(0.0, 1e-6)
_PLAIN = (bool, int, float, complex, str, bytes, type(None), enum.Enum, np.generic, torch.dtype, torch.device)
_LEFT_ALONE = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, property, staticmethod, classmethod)


@dataclass(frozen=True)
class Change:
    """One thing that calls changed: where it is, and what it was and became, for a message."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name} ({self.before} -> {self.after})"


@dataclass(frozen=True)
class _Tensor:
    """What a tensor held when it was looked at. `prints` is None where its contents could not, or need not, be read."""

    shape: tuple[int, ...]
    dtype: str
    prints: tuple[int, int] | None
    copy: torch.Tensor | None

    def same(self, other: _Tensor) -> bool:
        if (self.shape, self.dtype) != (other.shape, other.dtype):
            return False
        if self.prints == other.prints or self.prints is None or other.prints is None:
            return True
        if self.copy is None or other.copy is None or not self.copy.is_floating_point():
            return False
        mine, theirs = (t.to(torch.float64).cpu().numpy() for t in (self.copy, other.copy))
        return compare("", mine, theirs, _ROUNDING).passed

    def __str__(self) -> str:
        label = f"{self.dtype}{list(self.shape)}"
        if self.copy is None or self.copy.is_complex() or not self.copy.numel():
            return label
        start = ", ".join(f"{v:.4g}" for v in self.copy.reshape(-1)[:2].tolist())
        return f"{label} {start}{', ...' if self.copy.numel() > 2 else ''}"


class ModuleState:
    """A snapshot of what `modules` remember. With `weights` the contents of parameters and buffers are part of it.

    Reading 3 GB of weights takes about half a second and no memory; see `fingerprint`.
    """

    def __init__(self, *modules: nn.Module, weights: bool = True) -> None:
        self.modules = modules
        self._weights = weights
        self._facts: dict[str, Any] = {}
        self._kinds: dict[str, str] = {}
        self._tensors: list[tuple[str, torch.Tensor]] = []
        self._undo: list[Callable[[], None]] = []
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._seen: dict[int, Any] = {}  # holds what it has seen, so that no id is used twice
        self._own_weights: set[int] = set()
        self._everywhere = True  # objects of installed packages are looked into in attributes alone
        self._classes: dict[type, None] = {}
        self._files: dict[str, None] = {}
        for number, module in enumerate(modules):
            self._module(module, f"view {number}" if number else "")
        self._everywhere = False
        for kind in self._classes:
            self._class(kind)
        for file in self._files:
            self._globals(file)
        self._read_tensors()

    def changes(self, after: ModuleState) -> list[Change]:
        """What differs in `after`. Parameters and buffers count where they are new, gone or of another shape.

        Of a container or submodule that is new or of another size, its contents are not listed.
        """
        found = list[Change]()
        for name in dict.fromkeys([*self._facts, *after._facts]):
            was, now = self._facts.get(name, _UNSET), after._facts.get(name, _UNSET)
            both = isinstance(was, _Tensor) and isinstance(now, _Tensor) and was.shape == now.shape
            if both and (name in self._kinds or name in after._kinds):
                continue  # `changed_weights` looks at the contents
            if not _same(was, now) and not any(name.startswith((f"{c.name}[", f"{c.name}.")) for c in found):
                found.append(Change(name, _text(was), _text(now)))
        return found

    def changed_weights(self, after: ModuleState) -> list[str]:
        """The parameters and buffers whose contents are others by now, as `parameter NAME` or `buffer NAME`.

        One of another shape is a cache that grew, and among `changes`.
        """
        changed = []
        for path, tensor in after._tensors:
            was, kind = self._facts.get(path), self._kinds.get(path)
            if kind is None or not isinstance(was, _Tensor) or was.prints is None or was.shape != tuple(tensor.shape):
                continue
            if was.prints == fingerprint(tensor):
                continue
            if was.copy is None or not torch.equal(was.copy.nan_to_num(), tensor.detach().nan_to_num()):
                changed.append(f"{kind} {path}")
        return changed

    def restore(self) -> bool:
        """Put back what was there. False when some tensor was too large to keep a copy of and may be another now."""
        with torch.inference_mode():
            for tensor, copy in self._copies:
                with suppress(RuntimeError):  # resized storage, a read-only array
                    if not torch.equal(tensor, copy):
                        tensor.copy_(copy)
        for undo in reversed(self._undo):
            with suppress(Exception):  # a container of the user's own that can't be written to
                undo()
        return len(self._copies) == len(self._tensors)

    # What follows walks over what there is; `_facts` has a line for each thing that can be compared.

    def _module(self, module: nn.Module, path: str) -> None:
        if not self._new(module):
            return
        self._classes.update(dict.fromkeys(type(module).__mro__))
        if path:
            self._facts[path] = _Size(type(module).__name__)
        for kind, own in (("parameter", module._parameters), ("buffer", module._buffers)):
            for key, value in own.items():
                if value is not None:
                    self._kinds[_join(path, key)] = kind
                    self._own_weights.add(id(value))
                    self._tensor(value, _join(path, key))
        for table in (module._parameters, module._buffers, module._modules):
            if isinstance(table, dict):  # those of a scripted module are no dicts
                self._undo.append(partial(_put_back_dict, table, dict(table)))
        own = {k: v for k, v in vars(module).items() if k not in _BOOKKEEPING}
        self._undo.append(partial(_put_back_attributes, vars(module), own))
        for key, value in own.items():
            self._value(value, _join(path, key), 0)
        # `self.n += 1` makes an attribute of the instance of one of the class, which is what it was.
        for base in reversed(type(module).__mro__):
            for key, value in vars(base).items():
                if key not in own and not key.startswith("__") and isinstance(value, (int, float, complex)):
                    self._facts[_join(path, key)] = value
        for key, child in module._modules.items():
            if child is not None:
                self._module(child, _join(path, key))

    def _class(self, kind: type) -> None:
        if not _is_foreign(kind.__module__, ("torch",)):
            own = {k: v for k, v in vars(kind).items() if not k.startswith("__") and not callable(v)}
            self._undo.append(partial(_put_back_class, kind, own))
            for key, value in own.items():
                self._value(value, f"{kind.__name__}.{key} of the class", 1)
        if _is_users_own(kind.__module__):
            self._files[kind.__module__] = None
            for key, value in vars(kind).items():
                if isinstance(value, FunctionType):
                    self._function(value, f"{kind.__name__}.{key}")

    def _function(self, function: FunctionType, path: str) -> None:
        """Default arguments that are containers, attributes, and what it closes over."""
        if not self._new(function):
            return
        self._undo.append(partial(_put_back_dict, function.__dict__, dict(function.__dict__)))
        for key, value in function.__dict__.items():
            self._value(value, f"{path}.{key}", 2)
        defaults = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
        for number, value in enumerate(defaults):
            self._value(value, f"{path}, default {number}", 2)
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            with suppress(ValueError):  # a cell that is empty still
                value = cell.cell_contents
                if isinstance(value, FunctionType) and _is_users_own(value.__module__):
                    self._function(value, name)
                elif not isinstance(value, _LEFT_ALONE):
                    self._undo.append(partial(_put_back_cell, cell, value))
                    self._value(value, f"{path}, its variable {name}", 2)

    def _globals(self, file: str) -> None:
        own = vars(sys.modules[file])
        # Files of the same project that it imports as modules; theirs are written as `schedule.step += 1`.
        near = {v.__name__: v for v in own.values() if isinstance(v, ModuleType) and _is_users_own(v.__name__)}
        for name, place in {file: sys.modules[file], **near}.items():
            if not self._new(place):
                continue
            plain = {k: v for k, v in vars(place).items() if not k.startswith("__") and not isinstance(v, _LEFT_ALONE)}
            plain = {k: v for k, v in plain.items() if not isinstance(v, nn.Module)}
            self._undo.append(partial(_put_back_items, vars(place), plain))
            for key, value in plain.items():
                self._value(value, f"{name}.{key} (a global)", 2)
            for key, value in list(vars(place).items()):
                if isinstance(value, FunctionType) and value.__module__ == name:
                    self._function(value, key)

    def _value(self, value: Any, path: str, depth: int) -> None:
        if isinstance(value, _PLAIN):
            self._facts[path] = value
        elif isinstance(value, itertools.count):
            self._facts[path] = repr(value)
        elif isinstance(value, torch.Tensor):
            self._tensor(value, path)
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            with warnings.catch_warnings(), suppress(TypeError, ValueError):
                warnings.simplefilter("ignore")  # of arrays that may not be written to
                self._tensor(torch.from_numpy(value), path)
        elif isinstance(value, nn.Module):
            self._module(value, path)
        elif depth < _DEPTH and self._new(value):
            self._contents(value, path, depth + 1)

    def _contents(self, value: Any, path: str, depth: int) -> None:
        if isinstance(value, (list, tuple, collections.deque)):
            self._facts[path] = _Size(type(value).__name__, len(value))
            if isinstance(value, list):
                self._undo.append(partial(_put_back_list, value, list(value)))
            elif isinstance(value, collections.deque):
                self._undo.append(partial(_put_back_deque, value, list(value)))
            for number, item in enumerate(value if len(value) <= _ITEMS else ()):
                self._value(item, f"{path}[{number}]", depth)
        elif isinstance(value, (set, frozenset)):
            self._facts[path] = frozenset(v for v in value if isinstance(v, (*_PLAIN, tuple)))
            if isinstance(value, set):
                self._undo.append(partial(_put_back_set, value, set(value)))
        elif isinstance(value, dict):
            self._facts[path] = _Size(type(value).__name__, len(value))
            self._undo.append(partial(_put_back_dict, value, dict(value)))
            for key, item in value.items() if len(value) <= _ITEMS else ():
                self._value(item, f"{path}[{key!r}]" if isinstance(key, (*_PLAIN, tuple)) else f"{path}[...]", depth)
        elif not isinstance(value, _LEFT_ALONE) and self._is_open(type(value)):
            own = dict(getattr(value, "__dict__", {}))
            if own:
                self._undo.append(partial(_put_back_attributes, vars(value), own, keep=frozenset()))
            for kind in type(value).__mro__:
                slots = kind.__dict__.get("__slots__", ())
                for key in (slots,) if isinstance(slots, str) else slots:
                    if not key.startswith("__") and hasattr(value, key):
                        own[key] = getattr(value, key)
                        self._undo.append(partial(object.__setattr__, value, key, own[key]))
            for key, item in own.items():
                self._value(item, f"{path}.{key}", depth)

    def _is_open(self, kind: type) -> bool:
        if kind is SimpleNamespace or _is_users_own(kind.__module__):
            return True
        return self._everywhere and not _is_foreign(kind.__module__, ("torch", "numpy"))

    def _tensor(self, tensor: torch.Tensor, path: str) -> None:
        self._facts[path] = "not initialised"
        if not is_lazy(tensor):  # of nn.LazyLinear; it has no shape yet
            self._tensors.append((path, tensor))

    def _read_tensors(self) -> None:
        """Fingerprints of all tensors, and copies from the smallest on: those most often hold state."""
        left = MOST_COPIED
        known: dict[int, _Tensor] = {}
        for path, tensor in sorted(self._tensors, key=lambda t: t[1].numel()):
            if id(tensor) not in known:
                prints, copy = None, None
                if self._weights or id(tensor) not in self._own_weights:
                    with suppress(RuntimeError, NotImplementedError):  # sparse, fake, of a class of its own
                        prints = fingerprint(tensor)
                        if (left := left - tensor.numel() * tensor.element_size()) >= 0:
                            copy = tensor.detach().clone()
                            self._copies.append((tensor.detach(), copy))
                shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
                known[id(tensor)] = _Tensor(shape, dtype, prints, copy)
            self._facts[path] = known[id(tensor)]

    def _new(self, value: Any) -> bool:
        if id(value) in self._seen:
            return False
        self._seen[id(value)] = value
        return True


@contextmanager
def preserved(*modules: nn.Module) -> Iterator[ModuleState]:
    """The caller's modules are left as they came, whatever calls set in between: attributes, new submodules, globals."""
    state = ModuleState(*modules, weights=False)
    try:
        yield state
    finally:
        state.restore()


def fingerprint(tensor: torch.Tensor) -> tuple[int, int]:
    """Two sums over a tensor's bits, each of rows weighted by their place, so that a permutation shows as well.

    A copy is made of those alone that do not lie in memory in one piece.
    """
    for axis, stride in enumerate(tensor.stride()):
        if stride == 0 and tensor.shape[axis]:  # expanded: the same numbers over and over
            tensor = tensor.narrow(axis, 0, 1)
    flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    if flat.stride(0) != 1:  # one number, whose stride may be anything
        flat = flat.clone(memory_format=torch.contiguous_format)
    flat = flat.view(torch.uint8)
    head = min(-flat.storage_offset() % 8, len(flat))  # an int64 view begins at a multiple of 8 bytes
    tail = head + (len(flat) - head) // 8 * 8
    words = flat[head:tail].view(torch.int64) if tail > head else flat[:0].to(torch.int64)
    rest = torch.cat([flat[:head], flat[tail:]]).to(torch.int64)
    return _weighted_rows(words, 509), _weighted_rows(words, 64) ^ 3 * _weighted_rows(rest, 1)


def _weighted_rows(values: torch.Tensor, width: int) -> int:
    total = 0
    whole = values.numel() // width * width
    for piece in (values[:whole].reshape(-1, width), values[whole:].reshape(-1, 1)):
        if piece.numel():
            rows = piece.sum(1) if piece.shape[1] > 1 else piece[:, 0]
            # int64 wraps around; an odd factor loses no bit
            factors = torch.arange(1, len(rows) + 1, device=rows.device).mul_(-7046029254386353131).bitwise_or_(1)
            total = total * 31 + int((rows * factors).sum())
    return total


@dataclass(frozen=True)
class _Size:
    """What a submodule is, or how much a container holds."""

    kind: str
    items: int | None = None

    def __str__(self) -> str:
        return self.kind if self.items is None else f"{self.kind} of {self.items}"


_UNSET = object()


def _same(was: Any, now: Any) -> bool:
    if isinstance(was, _Tensor) and isinstance(now, _Tensor):
        return was.same(now)
    if type(was) is not type(now):
        return False
    if isinstance(was, (float, complex)):
        return bool(was == now or (was != was and now != now) or abs(was - now) <= _ROUNDING.rtol * abs(was))
    return bool(was == now)


def _text(fact: Any) -> str:
    text = "unset" if fact is _UNSET else str(fact) if isinstance(fact, (_Tensor, _Size)) else repr(fact)
    return text if len(text) <= 60 else text[:57] + "..."


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _is_foreign(module: str, packages: tuple[str, ...]) -> bool:
    """Whether `module` is of the standard library or of `packages`."""
    top = (module or "builtins").partition(".")[0]
    return top in packages or (top in sys.stdlib_module_names and top != "__main__")


def _is_users_own(module: str | None) -> bool:
    """Whether `module` is a file of the user's: neither installed, nor the standard library's, nor of this project."""
    loaded = sys.modules.get(module or "")
    place = getattr(loaded, "__file__", None) or ""
    if loaded is None or _is_foreign(module or "", ("torch", "numpy", "attn_runtime", "attn_export")):
        return False
    return "site-packages" not in place and "dist-packages" not in place


def _unchanged(now: Mapping[Any, Any], saved: Mapping[Any, Any]) -> bool:
    return list(now) == list(saved) and all(now[k] is v for k, v in saved.items())


def _put_back_dict(table: dict[Any, Any], saved: dict[Any, Any]) -> None:
    if not _unchanged(table, saved):
        table.clear()
        table.update(saved)


def _put_back_attributes(table: dict[str, Any], saved: dict[str, Any], keep: frozenset[str] = _BOOKKEEPING) -> None:
    for key in [k for k in table if k not in saved and k not in keep]:
        del table[key]
    _put_back_items(table, saved)


def _put_back_items(table: dict[str, Any], saved: dict[str, Any]) -> None:
    for key, value in saved.items():
        if table.get(key, _UNSET) is not value:
            table[key] = value


def _put_back_class(kind: type, saved: dict[str, Any]) -> None:
    for key in [k for k, v in vars(kind).items() if k not in saved and not k.startswith("__") and not callable(v)]:
        delattr(kind, key)
    for key, value in saved.items():
        if vars(kind).get(key, _UNSET) is not value:
            setattr(kind, key, value)


def _put_back_cell(cell: CellType, saved: Any) -> None:
    cell.cell_contents = saved


def _put_back_list(items: list[Any], saved: list[Any]) -> None:
    items[:] = saved


def _put_back_deque(items: collections.deque[Any], saved: list[Any]) -> None:
    items.clear()
    items.extend(saved)


def _put_back_set(items: set[Any], saved: set[Any]) -> None:
    items.clear()
    items.update(saved)
