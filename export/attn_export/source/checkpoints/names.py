"""How a module's names and a checkpoint's are one another's: wrappers left out, and a beginning that one of them lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import nn
from torch.nn.parameter import is_lazy

#: Parts of a name that wrappers put in: DistributedDataParallel and AveragedModel, torch.compile, FSDP, checkpointing, DeepSpeed.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
#: A counter of BatchNorm that eval mode does not read; checkpoints of before PyTorch 0.4.1 lack it, and averages lose it.
COUNTER = "num_batches_tracked"
#: How many modules an AveragedModel averaged.
AVERAGED = "n_averaged"
#: So many beginnings are tried, from the one under which most names are the module's.
_MOST = 64


@dataclass(frozen=True)
class Own:
    """What a module wants: its names with the tensors that it has, and for each its twins, which are the same tensor."""

    kind: str
    tensors: dict[str, torch.Tensor]
    twins: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, module: nn.Module) -> Own:
        tensors = {n: t for n, t in module.state_dict().items() if isinstance(t, torch.Tensor)}
        groups: dict[object, list[str]] = {}
        for name, tensor in tensors.items():
            if not is_lazy(tensor) and tensor.numel():
                groups.setdefault(_place(tensor), []).append(name)
        twins = {n: tuple(o for o in group if o != n) for group in groups.values() if len(group) > 1 for n in group}
        return cls(type(module).__name__, tensors, twins)

    @cached_property
    def bare(self) -> dict[str, str]:
        """The name without wrappers -> the name; as they are where two would become one."""
        return _bare(self.tensors)


@dataclass(frozen=True)
class Fit:
    """How a state_dict supplies a module.

    prefix      the beginning of its names that the module's lack; `own_prefix` the other way round
    table       name of the module -> name of the checkpoint
    wrappers    the wrappers that were left out on one side
    missing, misshapen   names of the module that nothing supplies, or something of another shape
    inside, outside      names of the checkpoint that nothing wants, below the prefix and beside it
    """

    prefix: str
    own_prefix: str
    table: dict[str, str]
    wrappers: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    inside: tuple[str, ...]
    outside: tuple[str, ...]
    counters: tuple[str, ...] = field(default=())  # BatchNorm's that it lacks

    @property
    def supplies(self) -> bool:
        """Whether every name of the module has a tensor of its shape."""
        return not self.missing and not self.misshapen


def fits(own: Own, tensors: Mapping[str, torch.Tensor]) -> list[Fit]:
    """The ways in which `tensors` may supply `own`, the nearest to its names first; never empty.

    Those that supply all, or else the one that supplies most, for a message.
    """
    whole: list[Fit] = []
    nearest: list[Fit] = []
    for own_prefix, wanted in _beginnings(own.bare):
        names = _bare(tensors)
        tried = [_fit(own, wanted, own_prefix, tensors, names, prefix) for prefix in _prefixes(wanted, names)]
        whole = [fit for fit in tried if fit.supplies]
        if whole:
            break
        nearest.extend(tried)
    best = whole or [max(nearest, key=lambda f: (len(f.table) - len(f.misshapen), -len(f.prefix) - len(f.own_prefix)))]
    return sorted(best, key=lambda f: (f.prefix.count("."), len(f.prefix)))


def _fit(
    own: Own,
    wanted: Mapping[str, str],
    own_prefix: str,
    tensors: Mapping[str, torch.Tensor],
    names: Mapping[str, str],
    prefix: str,
) -> Fit:
    table = {name: names[prefix + bare] for bare, name in wanted.items() if prefix + bare in names}
    for name in own.tensors:
        if name not in table and (twin := next((t for t in own.twins.get(name, ()) if t in table), None)):
            table[name] = table[twin]
    lacking = [name for name in own.tensors if name not in table]
    counters = tuple(name for name in lacking if name.rpartition(".")[2] == COUNTER)
    wrappers = tuple(w for w in WRAPPERS if any(_count(a, w) != _count(b, w) for a, b in table.items()))
    used = set(table.values())
    if "module" in wrappers:  # AveragedModel's own count of what it averaged stands beside its module
        used |= {name for name in tensors if name.rpartition(".")[2] == AVERAGED}
    unused = {bare: name for bare, name in names.items() if name not in used}
    # All that is taken may lie in a wrapper: what lies beside that is none of the module's (MMEngine's `steps`).
    outer = {name.partition(".")[0] for name in table.values()}
    wrapper = f"{outer.pop()}." if len(outer) == 1 else ""
    wrapper = wrapper if wrapper[:-1] in WRAPPERS and wrapper[:-1] not in prefix.split(".") else ""
    return Fit(
        prefix=prefix,
        own_prefix=own_prefix,
        table={name: table[name] for name in own.tensors if name in table},
        wrappers=wrappers,
        missing=tuple(name for name in lacking if name not in counters),
        misshapen=tuple(n for n, o in table.items() if not _same_shape(own.tensors[n], tensors[o])),
        inside=tuple(n for bare, n in unused.items() if bare.startswith(prefix) and n.startswith(wrapper)),
        outside=tuple(n for bare, n in unused.items() if not (bare.startswith(prefix) and n.startswith(wrapper))),
        counters=counters,
    )


def _beginnings(bare: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """The module's names as they are, then without the part that all of them begin with, and so on."""
    own_prefix = ""
    while True:
        yield own_prefix, bare
        first = {name.partition(".")[0] for name in bare}
        if len(first) != 1 or not all("." in name for name in bare):
            return
        own_prefix += f"{first.pop()}."
        bare = {name.partition(".")[2]: full for name, full in bare.items()}


def _prefixes(wanted: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
    """Beginnings after which names of the checkpoint are the module's, those of most names first."""
    counts = Counter({"": 0})
    for name in names:
        end = name
        while end:
            if end in wanted:
                counts[name[: len(name) - len(end)]] += 1
            end = end.partition(".")[2]
    return [prefix for prefix, _ in counts.most_common(_MOST)]


def bare(name: str) -> str:
    """`name` without the parts that wrappers put in."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _bare(tensors: Mapping[str, torch.Tensor]) -> dict[str, str]:
    named = {bare(name): name for name in tensors}
    return named if len(named) == len(tensors) and "" not in named else {name: name for name in tensors}


def _count(name: str, part: str) -> int:
    return name.split(".").count(part)


def _same_shape(own: torch.Tensor, other: torch.Tensor) -> bool:
    return is_lazy(own) or own.shape == other.shape


def _place(tensor: torch.Tensor) -> object:
    try:
        address = tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):  # sparse, or of a subclass: no storage of its own
        address = 0
    # Of the meta device's there is none either.
    return (address, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype) if address else id(tensor)
