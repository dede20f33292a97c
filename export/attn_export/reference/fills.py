"""Which values of an output are fills: constants that a model writes over places that are banned or masked.

-1e9, the least float32, -1e4, also added to what is there (`scores + (1 - mask) * -1e4`). They are found once, in PyTorch's
answers to all cases, and every comparison holds them apart (`attn_runtime.compare`): beside them, max|reference| is theirs,
and the limit would let any other value pass.

What tells a fill from a large answer: it lies far beyond everything else of its tensor, it is the same (or within a hair the
same) wherever it occurs, and it comes again, in one answer or in the answers to other inputs. A single outlier, areas beside
scores and a heavy tail lack one of these. An honest value that passes for a fill does little harm: it is held to its own
size, and the rest to that of the rest.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Fills
from numpy.typing import NDArray

#: How many times the rest of its tensor a fill is: one that is written as it is, and one that is added to what was there.
EXACT_GAP, ADDED_GAP = 16.0, 64.0
#: The least size of one that is written, below 0 and above it (at 100 and 255 percentages and pixels saturate).
LEAST_NEGATIVE, LEAST_POSITIVE = 64.0, 300.0
#: The same of one that is added. Above 0 there are columns of another unit, such as a year, and a transformer's massive
#: activations, which may be nearly constant; masks are added below it, but for those of distances.
LEAST_ADDED_NEGATIVE, LEAST_ADDED_POSITIVE = 500.0, 1e4
#: How wide apart the values of one added fill may be: of its own size, or of the largest value that is none.
_OF_ITSELF, _OF_REST = 1 / 256, 4.0
#: Another large value within this factor that is no fill: then both are of one distribution.
_NEAR = 1.5
#: Units in the last place that a constant may be off, where it went through arithmetic.
_ULPS = 8
#: Different fills of one sign in an answer, and fills of an output: more than these are a distribution.
_MOST, _MOST_RANGES = 8, 16
#: Added to binary exponents, so that those of the least float64 are above 0.
_OFFSET = 1100

Values = NDArray[Any]


@dataclass(frozen=True)
class _Cluster:
    """Values of one sign close together in the answer number `case`: their magnitudes, how many, and max|rest| there."""

    low: float
    high: float
    count: int
    case: int
    rest: float


@dataclass(frozen=True)
class _Group:
    """What may be one fill: the clusters of it in all answers. `ulp` is the unit in the last place at its size."""

    sign: int
    clusters: tuple[_Cluster, ...]
    ulp: float

    @property
    def low(self) -> float:
        return min(c.low for c in self.clusters)

    @property
    def high(self) -> float:
        return max(c.high for c in self.clusters)

    @property
    def count(self) -> int:
        return sum(c.count for c in self.clusters)

    @property
    def exact(self) -> bool:
        return self.high - self.low <= _ULPS * self.ulp

    @property
    def likely(self) -> bool:
        """Whether it is large enough for a fill, and as tight."""
        if not self.exact:
            tight = self.high - self.low <= _width(self.low, max(c.rest for c in self.clusters), self.ulp)
            return tight and self.low >= (LEAST_ADDED_NEGATIVE if self.sign < 0 else LEAST_ADDED_POSITIVE)
        return self.low >= (LEAST_NEGATIVE if self.sign < 0 else LEAST_POSITIVE)

    @property
    def range(self) -> tuple[float, float]:
        """With room at both ends, for what other inputs add to it, and for another machine's last bits."""
        room = max(self.high - self.low, _ULPS * self.ulp)
        low, high = self.low - room, min(self.high + room, sys.float_info.max)
        return (low, high) if self.sign > 0 else (-high, -low)


def fill_ranges(answers: Sequence[Case[Arrays]], again: Callable[[int], Case[Arrays]] | None = None) -> Fills:
    """Output -> the ranges that its fills lie in, for `Tolerance.fills`; outputs without any are left out.

    `answers` are all that is known of one graph, to different inputs. `again(number)` gives one more: it is called, twice,
    where something may be a fill and was seen in one place of one answer, as in a graph of fixed sizes.
    """
    found: dict[str, tuple[tuple[float, float], ...]] = {}
    known = list(answers)
    for name in known[0].outputs if known else ():
        groups = _groups(name, known)
        fills = _fills(groups, known)
        if again is not None and any(g.count == 1 and g.likely and g not in fills for g in groups):
            known += [again(0), again(1)]
            again = None
            groups = _groups(name, known)
            fills = _fills(groups, known)
        if 0 < len(fills) <= _MOST_RANGES:
            found[name] = tuple(sorted(group.range for group in fills))
    return found


def _fills(groups: list[_Group], answers: Sequence[Case[Arrays]]) -> list[_Group]:
    """Those of the groups that come again and lie far beyond everything that is no fill."""
    fills = [g for g in groups if g.likely and (g.exact or g.count > 2)]
    while True:
        others = [g for g in groups if g not in fills]
        spread = [g for g in groups if not (g.exact and g in fills)]
        kept = [g for g in fills if _comes_again(g, others, answers) and (g.exact or not _near(g, spread))]
        if len(kept) == len(fills):
            return kept
        fills = kept


def _comes_again(group: _Group, others: Sequence[_Group], answers: Sequence[Case[Arrays]]) -> bool:
    """Whether it is there twice: in one answer that it lies far beyond the rest of, or in two of those to different inputs."""
    gap = EXACT_GAP if group.exact else ADDED_GAP
    seen: list[_Cluster] = []
    for cluster in group.clusters:
        rest = max([cluster.rest, *(c.high for g in others for c in g.clusters if c.case == cluster.case)])
        if cluster.low < gap * rest:
            continue
        if cluster.count > 1 or any(_different(answers[cluster.case], answers[c.case]) for c in seen):
            return True
        seen.append(cluster)
    return False


def _different(one: Case[Arrays], other: Case[Arrays]) -> bool:
    return any(not np.array_equal(value, other.inputs.get(name)) for name, value in one.inputs.items())  # type: ignore[arg-type]


def _near(group: _Group, others: Sequence[_Group]) -> bool:
    return any(
        g is not group and g.sign == group.sign and g.low <= _NEAR * group.high and group.low <= _NEAR * g.high
        for g in others
    )


def _groups(name: str, answers: Sequence[Case[Arrays]]) -> list[_Group]:
    """The clusters of all answers, those of one fill put together."""
    groups: list[_Group] = []
    dtype = answers[0].outputs[name].dtype
    if dtype.kind != "f":
        return groups
    clusters: dict[int, list[_Cluster]] = {-1: [], 1: []}
    for number, answer in enumerate(answers):
        for sign, cluster in _clusters(answer.outputs[name], number):
            clusters[sign].append(cluster)
    for sign, found in clusters.items():
        together: list[_Cluster] = []
        for cluster in sorted(found, key=lambda c: c.low):
            if together and not _one(together, cluster, _ulp(together[0].low, dtype)):
                groups.append(_Group(sign, tuple(together), _ulp(together[0].low, dtype)))
                together = []
            together.append(cluster)
        if together:
            groups.append(_Group(sign, tuple(together), _ulp(together[0].low, dtype)))
    return groups


def _one(together: Sequence[_Cluster], cluster: _Cluster, ulp: float) -> bool:
    """Whether the next cluster is of the same fill as those before it."""
    low, high = together[0].low, max(c.high for c in together)
    rest = max(c.rest for c in (*together, cluster))
    return cluster.low <= high or max(high, cluster.high) - low <= _width(low, rest, ulp)


def _width(low: float, rest: float, ulp: float) -> float:
    return max(_ULPS * ulp, _OF_ITSELF * low, _OF_REST * rest)


def _ulp(magnitude: float, dtype: np.dtype[Any]) -> float:
    # Of half of it, since there is no number behind the greatest.
    return 2 * float(np.spacing(dtype.type(magnitude / 2)))


def _clusters(value: Values, case: int) -> list[tuple[int, _Cluster]]:
    """(sign, cluster) of all that lies beyond the lowest gap in one answer behind which there are few clusters."""
    if (
        not value.size or max(-value.min(), value.max()) < LEAST_NEGATIVE
    ):  # the usual; with a NaN among them it is not less
        return []
    values = value[np.isfinite(value) & (value != 0)]
    magnitude = np.abs(values)
    if not magnitude.size or magnitude.max() < LEAST_NEGATIVE:
        return []
    for edge in _edges(magnitude):
        beyond = magnitude >= edge
        rest = float(magnitude[~beyond].max())
        far = values[beyond].astype(np.float64)
        if np.abs(far).min() < EXACT_GAP * rest:
            continue
        found: list[tuple[int, _Cluster]] = []
        for sign in (-1, 1):
            own = list(_split(sign * far[np.sign(far) == sign], case, rest, value.dtype))
            if len(own) > _MOST:
                break
            found += [(sign, cluster) for cluster in own]
        else:
            return found
    return []


def _edges(magnitude: Values) -> Iterator[float]:
    """Powers of two with nothing for three binary orders below and something on both sides, the lowest first.

    Two numbers of which one is 16 times the other have at least that between them.
    """
    exponents = np.flatnonzero(np.bincount(np.frexp(magnitude)[1] + _OFFSET)) - _OFFSET
    for low, high in pairwise(exponents.tolist()):
        if high - low > 3:
            yield 2.0 ** (high - 1)


def _split(magnitude: Values, case: int, rest: float, dtype: np.dtype[Any]) -> Iterator[_Cluster]:
    """At most one cluster more than a fill may have."""
    for _ in range(_MOST + 1):
        if not magnitude.size:
            return
        low = float(magnitude.min())
        near = magnitude <= low + _width(low, rest, _ulp(low, dtype))
        yield _Cluster(low, float(magnitude[near].max()), int(near.sum()), case, rest)
        magnitude = magnitude[~near]
