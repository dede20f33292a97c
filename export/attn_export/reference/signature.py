"""A module seen through flat, named tensors: inputs by name, outputs as a list with readable names.

torch.export and the ONNX exporter name a graph's border after `forward`'s parameters and the nodes of the graph; users
want `logits`, not `linear_7`. While `flat(...)` is open, the module's own `forward` is replaced by one that takes the
declared inputs and returns the flattened outputs, so that no wrapper module adds a prefix to every weight's name.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import keyword
import math
import re
import time
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from attn_runtime.bundle import Arrays
from attn_runtime.errors import CaptureError, UsageError
from attn_runtime.spec import TensorSpec
from torch import nn

from .draw import Draw, independent


def flatten(value: Any, name: str = "") -> list[tuple[str, torch.Tensor]]:
    """Tensors of nested dicts, dataclasses, named tuples, tuples and lists, with names made of the path to each.

    None, numbers and strings are left out: a graph can't answer them.
    """
    if isinstance(value, torch.Tensor):
        return [(name or "output", value)]
    parts: list[tuple[str, Any]]
    if isinstance(value, Mapping):
        parts = [(str(k), v) for k, v in value.items()]
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = list(zip(value._fields, value, strict=True))
    elif isinstance(value, (tuple, list)):
        parts = [(f"{'' if name else 'output_'}{i}", v) for i, v in enumerate(value)]
    elif value is None or isinstance(value, (int, float, str, bool)):
        return []
    else:
        kind = type(value).__name__
        # Hugging Face's cache objects are classes of their own.
        how = "Switch it off (--config use_cache=false) or wrap" if kind.endswith("Cache") else "Wrap"
        raise CaptureError(
            f"the output {name or '(whole)'} is a {kind}; "
            f"only tensors in dicts, dataclasses, tuples and lists can be exported. {how} the module."
        )
    flat: list[tuple[str, torch.Tensor]] = []
    for key, inner in parts:
        key = re.sub(r"\W+", "_", key)
        flat.extend(flatten(inner, f"{name}_{key}" if name else key))
    return flat


#: Open while the module runs; what it yields gives further answers of that run, by name.
Watch = Callable[[], AbstractContextManager[Callable[[], list[tuple[str, torch.Tensor]]]]]


class Signature:
    """How to call a module with the declared inputs, and what its outputs are called.

    What `watch` sees while the module runs are further outputs, behind the module's own. `draw` gives inputs to ask it
    with; where it is the user's (`dependent`), they depend on one another, and none can be changed by itself. `seconds` is
    the least that a call took, by the number of elements that went in.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Sequence[TensorSpec],
        output_names: Sequence[str] = (),
        by_position: bool = False,
        watch: Watch | None = None,
        draw: Draw | None = None,
    ) -> None:
        self.module = module
        self.watch = watch
        self.dependent = draw is not None
        self.draw: Draw = draw or independent(inputs)
        self.inputs = tuple(inputs)
        self.asked_names = tuple(output_names)
        self.output_names: tuple[str, ...] = ()
        self.seconds: dict[int, float] = {}
        names = [s.name for s in inputs]
        # A program takes what its names say by position.
        self.grouped = {} if by_position else _grouped(module, names)
        self.by_keyword = _by_keyword(module, names, self.grouped) and not by_position

    def __call__(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """The module's answers, flattened and named. Fixes `output_names` at the first call."""
        volume, start = sum(t.numel() for t in tensors.values()), time.perf_counter()
        answers = self._named(*self._answers(self.module, tensors))
        self.seconds[volume] = min(self.seconds.get(volume, math.inf), time.perf_counter() - start)
        return answers

    def took(self, inputs: Arrays) -> float:
        """The fewest seconds that the module has taken for inputs of as many elements; 0 where it was not asked for such."""
        return self.seconds.get(sum(value.size for value in inputs.values()), 0.0)

    def _answers(
        self, run: Callable[..., Any], given: Mapping[str, torch.Tensor]
    ) -> tuple[list[tuple[str, torch.Tensor]], list[tuple[str, torch.Tensor]]]:
        """What `run` (the module, or its forward) returns, flattened, and what was seen besides."""
        tensors: dict[str, Any] = {s.name: given[s.name] for s in self.inputs}
        for parameter, group in self.grouped.items():
            tensors[parameter] = group.make({key: tensors.pop(name) for key, name in group.names.items()})
        with self.watch() if self.watch else nullcontext(list) as seen:
            answered = run(**tensors) if self.by_keyword else run(*tensors.values())
            return flatten(answered), seen()

    def _named(
        self, own: list[tuple[str, torch.Tensor]], seen: list[tuple[str, torch.Tensor]]
    ) -> dict[str, torch.Tensor]:
        found = [name for name, _ in own]
        if not found:
            raise CaptureError(f"{type(self.module).__name__} returned no tensor")
        if self.asked_names and len(self.asked_names) != len(found):
            raise UsageError(
                f"--output-names: {len(self.asked_names)} names for {len(found)} outputs; "
                f"the module returns: {', '.join(found)}"
            )
        names = (*(self.asked_names or found), *(name for name, _ in seen))
        taken = {s.name for s in self.inputs}
        unique: list[str] = []
        for number, name in enumerate(names):
            if number < len(self.asked_names) and (name in taken or name in unique):
                raise UsageError(f"--output-names: {name} is taken already; inputs and outputs need distinct names")
            while name in taken or name in unique:
                name += "_out"  # a module that returns a dict entry called like its input
            unique.append(name)
        self.output_names = tuple(unique)
        return {name: tensor for name, (_, tensor) in zip(unique, [*own, *seen], strict=True)}

    @contextmanager
    def flat(self) -> Iterator[nn.Module]:
        """The module with a flat `forward(input, ...) -> (output, ...)`, restored on leaving."""
        module, names = self.module, [s.name for s in self.inputs]
        own = module.__dict__.get("forward")
        forward = module.forward

        def flat_forward(*args: Any, **keywords: Any) -> tuple[torch.Tensor, ...]:
            given = dict(zip(names, args, strict=False)) | keywords
            outputs: list[torch.Tensor] = []
            for _, tensor in itertools.chain(*self._answers(forward, given)):
                # An output that is an input, or given twice, would lose its own name in the graph.
                same = any(tensor is other for other in [*outputs, *given.values()])
                outputs.append(tensor.clone() if same else tensor)
            return tuple(outputs)

        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        flat_forward.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(n, kind) for n in names]
        )
        module.forward = flat_forward
        try:
            yield module
        finally:
            if own is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = own


@dataclasses.dataclass(frozen=True)
class Group:
    """A list, tuple or dict that `forward` takes: key or index of each entry -> the input that it is, and how it is made."""

    names: Mapping[Any, str]
    make: Callable[[dict[Any, torch.Tensor]], Any]


def _grouped(module: nn.Module, names: Sequence[str]) -> dict[str, Group]:
    """Parameter -> the inputs that it is made of: NAME_0, NAME_1 a list, NAME_key a dict, where `forward` takes NAME.

    The parameter's annotation chooses between list and tuple, names a dataclass or named tuple, and rules out groups where
    it is a tensor. Without one, an only input is no entry unless it is NAME_0: `input_ids` of `forward(input)` goes by
    position. Raises UsageError for a list with a gap.
    """
    parameters = {
        n: p
        for n, p in inspect.signature(module.forward).parameters.items()
        if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    }
    stems: dict[str, dict[str, str]] = {}
    for name in names:
        owners = [p for p in parameters if name.startswith(f"{p}_") and len(name) > len(p) + 1 and p not in names]
        if name not in parameters and owners:
            stem = max(owners, key=len)
            stems.setdefault(stem, {})[name[len(stem) + 1 :]] = name
    hints = _annotations(module)
    groups: dict[str, Group] = {}
    for stem, keys in stems.items():
        kinds = _containers(hints.get(stem, parameters[stem].annotation))
        numbered = all(key.isdecimal() and str(int(key)) == key for key in keys)
        if kinds == [torch.Tensor] or (
            not kinds and len(keys) == 1 and "0" not in keys and len(names) <= len(parameters)
        ):
            continue
        if not kinds and all(re.fullmatch(r"\d+(_\w+)+", key) for key in keys):
            raise UsageError(
                f"--input {stem}_{next(iter(keys))}: a list in a list can't be written by entries; wrap the module in one "
                f"whose forward takes these tensors one by one and makes {stem} of them"
            )
        groups[stem] = _group(stem, keys, next((k for k in kinds if k is not torch.Tensor), None), numbered)
    return groups


def _group(stem: str, keys: Mapping[str, str], kind: Any, numbered: bool) -> Group:
    origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
    if origin is not None and (dataclasses.is_dataclass(origin) or hasattr(origin, "_fields")):
        return Group(keys, lambda entries: origin(**entries))
    if origin is not None and issubclass(origin, Mapping) and arguments and arguments[0] is int and numbered:
        return Group({int(key): name for key, name in keys.items()}, dict)
    if not numbered or (origin is not None and issubclass(origin, Mapping)):
        return Group(keys, dict)
    ordered = [keys.get(str(i)) for i in range(max(map(int, keys)) + 1)]
    if None in ordered:
        raise UsageError(
            f"--input {', '.join(keys.values())}: {stem}_{ordered.index(None)} is missing; a list is {stem}_0, {stem}_1, ... "
            "without a gap, a dict NAME_key"
        )
    sequence = tuple if origin is tuple else list
    return Group(dict(enumerate(filter(None, ordered))), lambda entries: sequence(entries.values()))


def _annotations(module: nn.Module) -> dict[str, Any]:
    try:
        return typing.get_type_hints(module.forward)
    except Exception:  # names that exist for a type checker alone
        return {}


def _containers(annotation: Any) -> list[Any]:
    """The classes of an annotation that hold tensors, or are one; without None and what says nothing."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [kind for part in typing.get_args(annotation) for kind in _containers(part)]
    origin = typing.get_origin(annotation) or annotation
    if not isinstance(origin, type) or origin in (inspect.Parameter.empty, type(None), object):
        return []
    if issubclass(origin, torch.Tensor):
        return [torch.Tensor]
    takes = issubclass(origin, (Mapping, Sequence)) and not issubclass(origin, str)
    return [annotation] if takes or dataclasses.is_dataclass(origin) else []


def _by_keyword(module: nn.Module, names: Sequence[str], grouped: Mapping[str, Group]) -> bool:
    """True when the inputs are named after `forward`'s parameters, False when they go in by position."""
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise UsageError(f"--input {name}: a name must be a Python identifier, and no keyword")
    entries = {name for group in grouped.values() for name in group.names.values()}
    names = [*(n for n in names if n not in entries), *grouped]
    parameters = inspect.signature(module.forward).parameters
    anything = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    named = {n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    known = [n for n in names if n in named]
    required = [
        n
        for n, p in parameters.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.KEYWORD_ONLY)
    ]
    shown = ", ".join(str(p) for p in parameters.values())
    takes_names_only = anything and not any(
        p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY, p.VAR_POSITIONAL) for p in parameters.values()
    )
    if len(known) == len(names) or (known and anything) or takes_names_only:
        if missing := [n for n in required if n not in names]:
            raise UsageError(
                f"{type(module).__name__}.forward({shown}) also needs {', '.join(missing)}; add --input for it"
            )
        return True
    in_order = [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == list(names[: len(known)])
    takes_the_rest = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())  # forward(token, mask, *past)
    if known and not (in_order and takes_the_rest):
        strange = [n for n in names if n not in named]
        raise UsageError(
            f"--input {', '.join(strange)}: {type(module).__name__}.forward({shown}) has no such parameter"
        )
    positional = [p for p in parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)]
    many = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
    if (len(names) > len(positional) and not many) or len(names) < len(required):
        raise UsageError(
            f"{len(names)} inputs ({', '.join(names)}) for {type(module).__name__}.forward({shown}): "
            "name them after its parameters (a list's entries NAME_0, NAME_1, a dict's NAME_key), or give as many as it takes"
        )
    return False


def to_torch(arrays: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
    # A copy: modules that work in place must not change the recorded inputs.
    return {name: torch.from_numpy(np.array(value)) for name, value in arrays.items()}


def to_numpy(tensors: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.bfloat16:
            raise CaptureError(
                f"output {name} is bfloat16, which can't cross to numpy; cast it to float32 in the module"
            )
        if tensor.is_complex():
            raise CaptureError(
                f"output {name} is {str(tensor.dtype).removeprefix('torch.')}, which ONNX has no tensors of; return "
                "torch.view_as_real of it in the module"
            )
        value = tensor.detach().resolve_conj().resolve_neg().cpu().numpy()
        arrays[name] = np.asarray(value, order="C")  # not ascontiguousarray, which makes a row of a number without axes
    return arrays
