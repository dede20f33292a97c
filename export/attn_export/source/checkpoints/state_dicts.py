"""The state_dicts in what a checkpoint holds, wherever in it they lie, and the one that a key names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from attn_runtime.errors import CheckpointError, did_you_mean
from attn_runtime.escape import printable

from .inert_pickle import origin_of
from .names import bare

#: Deeper than this nobody keeps weights; a hostile file could nest without end.
_DEPTH = 5
#: More than this many are found in no file of weights, but in the state of an optimiser.
_MOST = 200
_AVERAGE = re.compile(
    r"(?<![a-zA-Z])(ema|swa|ewa|polyak|shadow|averaged?)(?![a-z])|(?<=[a-z])(Ema|Swa|SWA)(?![a-z])|(?<![A-Z])EMA(?![a-z])"
)


@dataclass(frozen=True)
class StateDict:
    """Name -> tensor. `key` is where it lies, keys joined by dots, "" for the file itself; `others` says of each entry that
    is no tensor what it is; `versions` are the numbers that modules store of their layout, by path."""

    key: str
    tensors: dict[str, torch.Tensor]
    others: dict[str, str]
    versions: dict[str, dict[str, Any]]

    @property
    def label(self) -> str:
        return f"{printable(self.key, 80) or 'the file itself'} ({len(self.tensors)} tensors)"


def state_dicts(root: Any) -> list[StateDict]:
    """All of them, in the order of the file. A dict is one where a name leads to a tensor; optimisers' are left out."""
    return list(_walk(root, "", 0, set()))[:_MOST]


def _walk(value: Any, key: str, depth: int, seen: set[int]) -> Iterator[StateDict]:
    if not isinstance(value, dict) or id(value) in seen or depth > _DEPTH or len(seen) > 50 * _MOST:
        return
    seen.add(id(value))
    named = {name: entry for name, entry in dict.items(value) if isinstance(name, str)}
    tensors = {name: entry.detach() for name, entry in named.items() if _is_dense(entry)}
    if tensors:
        others = {n: origin_of(v) or _kind(v) for n, v in named.items() if n not in tensors}
        yield StateDict(key, tensors, others, _versions(value))
    for name, entry in named.items():
        if not name.lower().startswith("optim"):
            yield from _walk(entry, f"{key}.{name}" if key else name, depth + 1, seen)


def _is_dense(value: object) -> bool:
    """Whether it is numbers in memory: no sparse tensor, no part of a distributed one, nothing on the meta device."""
    plain = type(value) in (torch.Tensor, torch.nn.Parameter)
    return plain and isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_meta


def _kind(value: object) -> str:
    if type(value) is torch.Tensor and value.is_meta:
        return "tensor without numbers (meta device)"
    return "sparse tensor" if type(value) is torch.Tensor else type(value).__name__


def _versions(value: dict[Any, Any]) -> dict[str, dict[str, Any]]:
    stored = getattr(value, "_metadata", None)
    if not isinstance(stored, dict):
        return {}
    numbers = {path: about.get("version") for path, about in stored.items() if isinstance(about, dict)}
    return {p: {"version": n} for p, n in numbers.items() if isinstance(p, str) and isinstance(n, int)}


def joined(found: list[StateDict]) -> StateDict:
    """All of them as one, each below its key: a script may keep an encoder's and a decoder's side by side."""
    return StateDict(
        "",
        {f"{s.key}.{name}" if s.key else name: tensor for s in found for name, tensor in s.tensors.items()},
        {f"{s.key}.{name}" if s.key else name: kind for s in found for name, kind in s.others.items()},
        {},
    )


def is_average(key: str) -> bool:
    """Whether weights under that key are, by its name, an average over the training (EMA, SWA)."""
    return _AVERAGE.search(key) is not None


def nameless_averages(root: Any, key: str = "", depth: int = 0) -> Iterator[str]:
    """Where lists of tensors lie that are an average by their key: without names nothing can take them."""
    if isinstance(root, dict) and depth < _DEPTH:
        for name, value in dict.items(root):
            if isinstance(name, str) and not name.lower().startswith("optim"):
                yield from nameless_averages(value, f"{key}.{name}" if key else name, depth + 1)
    elif isinstance(root, (list, tuple)) and is_average(key) and any(isinstance(v, torch.Tensor) for v in root[:1000]):
        yield key


def at_key(found: list[StateDict], key: str, where: str) -> list[StateDict]:
    """Those of `found` that `key` names: a path of keys, its end, or the beginning that names have in common.

    Raises CheckpointError, with what there is, where nothing is called so.
    """
    for matches in (
        [s for s in found if s.key == key],
        [s for s in found if s.key.startswith(f"{key}.")],
        [s for s in found if s.key.endswith(f".{key}")],
        [part for s in found if (part := _below(s, key)) is not None],
    ):
        if matches:
            return matches
    known = [s.key for s in found if s.key]
    starts = list(dict.fromkeys(name.partition(".")[0] for s in found for name in s.tensors))
    raise CheckpointError(
        f'{where} has nothing under the key "{printable(key)}"; {did_you_mean(key, [*known, *starts])}{listed(found)}, '
        f"with names below {printable(', '.join(starts[:8]))}{', ...' if len(starts) > 8 else ''}"
    )


def listed(found: list[StateDict]) -> str:
    """`state_dicts lie in: model (14 tensors), ema.module (14 tensors)` for a message."""
    more = f", and {len(found) - 12} more" if len(found) > 12 else ""
    return (
        f"state_dicts lie in: {', '.join(s.label for s in found[:12])}{more}" if found else "no state_dict lies in it"
    )


def _below(state: StateDict, key: str) -> StateDict | None:
    """The part of a flat state_dict whose names begin with `key`, which may name the dict itself first."""
    start = f"{key.removeprefix(f'{state.key}.') if state.key else key}."
    for shorter in (str, bare):  # as the names are, else without the parts of wrappers, as messages have them
        names = {shorter(name): name for name in (*state.tensors, *state.others)}
        below = {name[len(start) :]: full for name, full in names.items() if name.startswith(start)}
        tensors = {name: state.tensors[full] for name, full in below.items() if full in state.tensors}
        if tensors:
            others = {name: state.others[full] for name, full in below.items() if full in state.others}
            lies = ".".join(part for part in (state.key, start[:-1]) if part)
            return StateDict(lies, tensors, others, versions_below(state, start[:-1]))
    return None


def versions_below(state: StateDict, start: str) -> dict[str, dict[str, Any]]:
    """The version numbers of the modules below `start`, by their paths from there."""
    if not start:
        return state.versions
    mine = {p: v for p, v in state.versions.items() if p == start or p.startswith(f"{start}.")}
    return {p.removeprefix(start).removeprefix("."): v for p, v in mine.items()}
