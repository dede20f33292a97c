"""Sizes between the corners: which of them a graph is held against PyTorch at, besides the corners themselves.

A translation may be wrong at a few sizes alone: a resize to a fixed size at 7 lengths of 117, a length that float32 rounds
otherwise than float64, a branch on two equal dims whose guard was dropped.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from attn_runtime.spec import Dim, TensorSpec, named_dims

Sizes = dict[str, int]

#: What a sweep may take where nobody says, and where one case takes more than _HEAVY_CASE, in seconds.
DEFAULT_SECONDS = 20.0
HEAVY_SECONDS = 1.0
_HEAVY_CASE = 0.05
#: What it takes to write and read the files of a case.
_FILE_SECONDS = 0.002
#: However quick a model is, no more cases than this are asked: each is a file or two on its way.
MOST_CASES = 4096
#: Interior sizes that are drawn for each dim where not all are tried; each with its successor.
_DRAWN = 4


@dataclass(frozen=True)
class SweepPlan:
    """What to ask beyond the corners, in order of what is likeliest to differ.

    complete  the dims of which every size is asked, here or at a corner
    limit     seconds after which to end
    """

    sizes: tuple[Sizes, ...] = ()
    complete: tuple[str, ...] = ()
    limit: float = 0.0


def plan_sweep(
    inputs: Sequence[TensorSpec],
    corners: Iterable[Mapping[str, int]],
    seed: int,
    cost: Callable[[Sizes], float],
    budget: float | None = None,
) -> SweepPlan:
    """Every size of each dynamic dim where `cost` (seconds at given sizes) says that all of them take less than `budget`
    seconds; else as many of the likeliest as fit. `corners` are asked anyway and not listed again.

    Without a `budget` it is DEFAULT_SECONDS, and a model of which one case takes long gets the likeliest sizes alone, in
    HEAVY_SECONDS at most: its export is long enough.
    """
    dims = {name: dim for name, dim in named_dims(inputs).items() if dim.dynamic}
    known = [dict(c) for c in corners]
    limit = DEFAULT_SECONDS if budget is None else budget
    if not dims or limit <= 0:
        return SweepPlan(complete=_complete(dims, known))
    fixed = {name: dim.opt for name, dim in named_dims(inputs).items() if not dim.dynamic}
    rng = random.Random(seed)
    likely = list(_new((fixed | s for s in _likely(inputs, dims, rng)), known))
    if sum(dim.max - dim.min + 1 for dim in dims.values()) <= MOST_CASES:
        whole = [*likely, *_new((fixed | s for s in _every(dims, [*known, *likely], rng)), [*known, *likely])]
        seconds = sum(map(cost, whole))
        heavy = budget is None and seconds > _HEAVY_CASE * len(whole)
        if seconds <= limit and not (heavy and seconds > HEAVY_SECONDS):
            return SweepPlan(tuple(whole), tuple(dims), limit)
        limit = HEAVY_SECONDS if heavy else limit
    chosen: list[Sizes] = []
    seconds = 0.0
    for sizes in likely:
        if seconds + (own := cost(sizes)) <= limit:
            chosen.append(sizes)
            seconds += own
    return SweepPlan(tuple(chosen), _complete(dims, [*known, *chosen]), limit)


def _new(candidates: Iterable[Sizes], known: Iterable[Sizes]) -> Iterator[Sizes]:
    seen = {tuple(sorted(k.items())) for k in known}
    for sizes in candidates:
        key = tuple(sorted(sizes.items()))
        if key not in seen:
            seen.add(key)
            yield sizes


def _complete(dims: Mapping[str, Dim], asked: Sequence[Mapping[str, int]]) -> tuple[str, ...]:
    return tuple(n for n, d in dims.items() if len({s[n] for s in asked if n in s}) == d.max - d.min + 1)


def _likely(inputs: Sequence[TensorSpec], dims: Mapping[str, Dim], rng: random.Random) -> Iterator[Sizes]:
    """Two dims equal, or one apart; sizes of fixed axes; powers of two, drawn sizes, and the neighbours of each."""
    for (a, first), (b, second) in combinations(dims.items(), 2):
        for apart in (0, 1):
            both = range(max(first.min, second.min - apart), min(first.max, second.max - apart) + 1)
            if inner := both[1:-1] or both:  # the ends may be corners already
                size = inner[min(len(inner) - 1, rng.randrange(1, 8))]
                yield _small(dims, rng) | {a: size, b: size + apart}
    axes = {d.opt for s in inputs for d in s.dims if not d.dynamic and d.opt > 1}
    for name, dim in dims.items():
        powers = {2**k for k in range(dim.max.bit_length() + 1)}
        drawn = {rng.randint(dim.min, dim.max) for _ in range(_DRAWN)}
        near = {n + by for n in powers for by in (-1, 0, 1)} | {n + by for n in drawn for by in (0, 1)} | axes
        for size in sorted(n for n in near if dim.min <= n <= dim.max):
            yield _small(dims, rng) | {name: size}


def _every(dims: Mapping[str, Dim], asked: Sequence[Mapping[str, int]], rng: random.Random) -> Iterator[Sizes]:
    """Each size of each dim that is not among `asked` yet."""
    for name, dim in dims.items():
        seen = {s[name] for s in asked if name in s}
        for size in range(dim.min, dim.max + 1):
            if size not in seen:
                yield _small(dims, rng) | {name: size}


def _small(dims: Mapping[str, Dim], rng: random.Random) -> Sizes:
    """A choice of the other dims: between min and opt, so that a sweep of one dim meets many sizes of the rest."""
    return {name: rng.randint(dim.min, max(dim.min, min(dim.opt, dim.min + 8))) for name, dim in dims.items()}


def cost_of(inputs: Sequence[TensorSpec], seconds: Mapping[int, float]) -> Callable[[Sizes], float]:
    """What a case of given sizes will take, from the `seconds` that PyTorch took for cases with so many input elements.

    A graph takes about as long as PyTorch, and two are asked: the captured one and what the passes make of it. Between two
    measured cases the line between them: attention, which grows with the square, takes less.
    """
    volumes = sorted(seconds)
    slowest = [max(seconds[v] for v in volumes[: n + 1]) for n in range(len(volumes))]

    def cost(sizes: Sizes) -> float:
        volume = sum(math.prod(s.shape(sizes)) for s in inputs)
        return 3 * float(np.interp(volume, volumes, slowest)) + _FILE_SECONDS if volumes else _FILE_SECONDS

    return cost
