"""Weights from a file into a module, without ever running code from that file."""

from __future__ import annotations

import itertools
import re
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from attn_runtime.errors import CheckpointError
from attn_runtime.escape import printable
from torch import nn

from .choose import Choice, Misfit, choose
from .files import TRUST, TRUST_ARRAYS, is_folder, read_checkpoint
from .inert_pickle import origin_of
from .names import COUNTER, Own, bare, fits
from .state_dicts import StateDict, at_key, is_average, joined, nameless_averages, state_dicts, versions_below


@dataclass(frozen=True)
class Loaded:
    """What was loaded: the file's name and sha256, for the manifest, and what the user should know of it."""

    file: str
    sha256: str
    notes: tuple[str, ...]


def load_checkpoint(module: nn.Module, path: Path, key: str | None = None) -> Loaded:
    """Load safetensors, a torch file, an index of parts or a folder with one into `module`, strictly, in its own dtypes.

    Names are matched as they are, then without what wrappers put into them, then below a beginning that they have in
    common. `key` names the weights where a file has several: a path of keys or the beginning of names. Raises
    CheckpointError for what is missing, damaged or quantised, for a pickle that is nothing without its code, for keys that
    are missing, unexpected or of another shape, and for weights that are one in the module and two in the file; the module
    is left as it was.
    """
    file = read_checkpoint(path)
    where = f"checkpoint {path}"
    found = state_dicts(file.root)
    if not found:
        trust = TRUST_ARRAYS if _first_origin(file.root) == "NumPy array" else TRUST
        objects = f"; loading its objects could run code, so it was not loaded: {trust}" if file.inert else ""
        raise CheckpointError(
            f"{where} holds no state_dict (found: {_held(file.root)}); expected name -> tensor{objects}"
        )
    if key is not None:
        found = at_key(found, key, where)
    own = Own.of(module)
    try:
        choice = _choose(own, found, where, key is not None)
    except Misfit as misfit:
        if re.search(r"-\d{5}-of-\d{5}\.", path.name):
            raise CheckpointError(f"{misfit} It is one part of several: give their index, or their folder.") from None
        notes = _loaded_by_its_hooks(module, own, found, misfit)
    else:
        notes = _fill(module, own, choice, where)
    if is_folder(path):
        notes.insert(0, f"{file.path.name} is taken")
    for name in itertools.islice(nameless_averages(file.root), 3):
        notes.append(f"{name} may be an average of the weights (EMA), a list without names, and is left out")
    if file.inert:
        left = _left_out(file.root)
        notes.append(f"objects beside the tensors are left out, unread{f': {left}' if left else ''}")
    return Loaded(file.path.name, file.sha256, tuple(f"{where}: {printable(note, 300)}" for note in notes))


def _choose(own: Own, found: list[StateDict], where: str, named: bool) -> Choice:
    try:
        return choose(own, found, where, named=named)
    except Misfit:
        if len(found) > 1:
            with suppress(Misfit):
                whole = choose(own, [joined(found)], where)
                used = set(whole.fit.table.values())
                parts = [s.key for s in found if any(f"{s.key}.{name}" in used for name in s.tensors)]
                return replace(whole, notes=(f"{' and '.join(parts)} are taken together", *whole.notes))
        raise


def _held(root: object) -> str:
    if not isinstance(root, dict):
        return type(root).__name__
    objects = [
        f"{k} ({'with ' if origin_of(v) is None else ''}a {origin})" if (origin := _first_origin(v)) else str(k)
        for k, v in list(dict.items(root))[:5]
    ]
    return printable(", ".join(objects) or "nothing")


def _left_out(root: object) -> str:
    items = dict.items(root) if isinstance(root, dict) else ()
    named = [f"{k} ({origin})" for k, v in items if (origin := _first_origin(v)) is not None]
    return f"{', '.join(named[:3])}{', ...' if len(named) > 3 else ''}"


def _first_origin(value: object, depth: int = 3) -> str | None:
    if depth and isinstance(value, (dict, list, tuple)):
        inside = dict.values(value) if isinstance(value, dict) else value
        return next((o for v in itertools.islice(inside, 20) if (o := _first_origin(v, depth - 1))), None)
    return origin_of(value)


def _fill(module: nn.Module, own: Own, choice: Choice, where: str) -> list[str]:
    table, tensors = choice.fit.table, choice.state.tensors
    _refuse_parted_twins(own, table, tensors, where)
    casts: Counter[str] = Counter()
    state: dict[str, torch.Tensor] = {}
    for name, target in own.tensors.items():
        if name in table:
            state[name] = _cast(name, tensors[table[name]], target, casts, where)
        else:
            state[name] = target  # a counter of BatchNorm
    try:
        with _put_back(module):
            _load(module, state, _versions(choice))
    except Exception as problem:  # what the module does with its weights is the user's code
        text = (str(problem).splitlines() or [type(problem).__name__])[-1].strip()
        raise CheckpointError(
            f"{where} can't be loaded into {own.kind}: {text}. Check --config and its hooks"
        ) from problem
    told = [f"{count} tensors are cast from {kinds}, the module's dtype" for kinds, count in casts.items()]
    return [*choice.notes, *told]


def _loaded_by_its_hooks(module: nn.Module, own: Own, found: list[StateDict], misfit: Misfit) -> list[str]:
    """A module may take other names than it has: with weights of before a parametrisation, of an older layout.

    So PyTorch is asked, strictly, with the state_dict of which most names fit. Raises `misfit` where it refuses too.
    """
    tried = [(s, fits(own, s.tensors)[0]) for s in found]
    state, fit = max(tried, key=lambda one: (len(one[1].table), not is_average(one[0].key)))
    kinds = {t.dtype for t in own.tensors.values() if t.is_floating_point()}
    casts: Counter[str] = Counter()
    try:
        given = {n: _cast(n, state.tensors[o], own.tensors[n], casts, "") for n, o in fit.table.items()}
        for other in fit.inside:
            tensor = state.tensors[other]
            cast = tensor.is_floating_point() and len(kinds) == 1
            given[fit.own_prefix + bare(other)[len(fit.prefix) :]] = tensor.to(next(iter(kinds))) if cast else tensor
        with _put_back(module):
            _load(module, given, _versions(Choice(state, fit, ())))
    except Exception as problem:  # hooks are the user's code
        raise misfit from problem
    notes = [f"{len(fit.inside)} names that are not the module's own were converted by its load hooks"]
    averages = [s.key for s in found if is_average(s.key) and s is not state]
    return [*notes, *(f"{k} may be an average of the weights (EMA): --checkpoint-key {k} takes it" for k in averages)]


def _load(module: nn.Module, tensors: dict[str, torch.Tensor], versions: dict[str, dict[str, int]]) -> None:
    tied = _tied(module)
    # What a module keeps beside tensors (get_extra_state) stays as it is: no file that is read here holds it.
    others = {n: v for n, v in module.state_dict().items() if not isinstance(v, torch.Tensor)}
    state = OrderedDict[str, Any](tensors | others)
    state._metadata = versions  # type: ignore[attr-defined]  # where load_state_dict looks for it
    # assign=True shares the file's memory instead of copying it: a large model is held once, not twice.
    module.load_state_dict(state, assign=True)
    for first, others_of_it in tied:
        for name in others_of_it:
            owner, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(owner), attribute, module.get_parameter(first))


def _versions(choice: Choice) -> dict[str, dict[str, int]]:
    """Version numbers of module layouts, where the paths are the module's own."""
    if choice.fit.wrappers or choice.fit.own_prefix:
        return {}
    return versions_below(choice.state, choice.fit.prefix.rstrip("."))


@contextmanager
def _put_back(module: nn.Module) -> Iterator[None]:
    """Where loading fails, what was assigned until then goes: nothing was written into the old tensors."""
    tables: list[dict[str, Any]] = [table for m in module.modules() for table in (m._parameters, m._buffers)]
    before = [(table, dict(table)) for table in tables]
    try:
        yield
    except BaseException:
        for table, content in before:
            table.clear()
            table.update(content)
        raise


def _tied(module: nn.Module) -> list[tuple[str, list[str]]]:
    """Parameters that are one under several names, which assigning to each name would part."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [(first, others) for first, *others in names.values() if others]


def _refuse_parted_twins(own: Own, table: dict[str, str], tensors: dict[str, torch.Tensor], where: str) -> None:
    for name, twins in own.twins.items():
        for twin in twins:
            mine, other = table.get(name), table.get(twin)
            if mine is None or other is None or mine == other:
                continue
            a, b = tensors[mine], tensors[other]
            if a is not b and not torch.equal(a, b):
                raise CheckpointError(
                    f"{where}: {mine} and {other} hold different numbers, and are one tensor in {own.kind}, so that one "
                    "would be lost. Build the module without tying them (--config), or give the checkpoint of this one"
                )


def _cast(name: str, tensor: torch.Tensor, target: torch.Tensor, casts: Counter[str], where: str) -> torch.Tensor:
    """`tensor` in the dtype that the module has, as load_state_dict copies it. CheckpointError where that loses what it says."""
    have, want = tensor.dtype, target.dtype
    if have == want:
        return tensor
    kinds = f"{_named(have)} to {_named(want)}"
    if have.is_floating_point and have.itemsize == 1:
        problem = "is quantised, and its scale is no part of it; use the weights in bfloat16 or float32"
    elif have.is_complex != want.is_complex:
        problem = "is of another kind of number; give the weights of this module"
    elif want.is_floating_point and not have.is_floating_point:
        problem = "is quantised, or no weight; use the weights that it was made from"
    else:
        cast = tensor.to(want)
        if want.is_floating_point:
            lost = bool((cast.isinf() & tensor.isfinite()).any())
        else:
            lost = not torch.equal(cast.to(have), tensor) and name.rpartition(".")[2] != COUNTER
        if not lost:
            casts[kinds] += 1
            return cast
        problem = "has values that it can't hold; give the weights of this module"
    raise CheckpointError(f"{where}: {name} is {_named(have)}, and {_named(want)} in the module; it {problem}")


def _named(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
