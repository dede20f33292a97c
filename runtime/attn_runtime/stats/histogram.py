"""How long things took, in buckets whose bounds are fixed: memory does not grow, and histograms of machines can be added up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..lazy import dataclass

_PER_DECADE, _FIRST, _LAST = 24, -6, 3
#: Upper bounds of the buckets in seconds, from 1 us to 1000 s, 24 to a decade; one more bucket holds what is beyond.
BOUNDS = tuple(float(f"{10 ** (_FIRST + n / _PER_DECADE):.3g}") for n in range(_PER_DECADE * (_LAST - _FIRST) + 1))
#: Every eighth of them, three to a decade: as many as a scrape should carry.
SHOWN = tuple(range(0, len(BOUNDS), 8))


@dataclass(frozen=True)
class Latencies:
    """What a Histogram held at one moment.

    counts   how many fell into each bucket: above the bound before it, up to its own (`BOUNDS`), the last one beyond all
    seconds  their sum
    longest  the longest, in seconds; 0.0 where there is none
    """

    counts: tuple[int, ...]
    seconds: float
    longest: float

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, share: float) -> float | None:
        """The time in seconds that this share of the calls (0..1) took at most; None where there was no call.

        Between the bounds of the bucket that holds it, by its rank there, on a logarithmic scale. Bounds are a factor of 1.10
        apart, and so far at most is it from that call's own time.
        """
        rank = share * self.count
        below = 0
        for number, count in enumerate(self.counts):
            if count and below + count >= rank:
                if number == len(BOUNDS):
                    return self.longest
                high = min(BOUNDS[number], self.longest)
                low = min(BOUNDS[number - 1] if number else high / 2, high)
                return low * (high / low) ** ((rank - below) / count) if low else high
            below += count
        return None

    def cumulative(self) -> list[tuple[float, int]]:
        """(upper bound in seconds, how many took that long at most), as a histogram of Prometheus has them; inf is the last."""
        found, total, next_bucket = [], 0, 0
        for number in SHOWN:
            total += sum(self.counts[next_bucket : number + 1])
            next_bucket = number + 1
            found.append((BOUNDS[number], total))
        return [*found, (math.inf, self.count)]

    def since(self, before: Latencies) -> list[float]:
        """The times that came after `before`: a single one as it was, of several each within a factor of 1.10."""
        new = [now - then for now, then in zip(self.counts, before.counts, strict=True)]
        if sum(new) == 1:
            return [self.seconds - before.seconds]
        bounds = (*BOUNDS, max(self.longest, BOUNDS[-1]))
        return [min(bound, self.longest) for bound, count in zip(bounds, new, strict=True) for _ in range(count)]

    def to_json(self) -> dict[str, Any]:
        """Seconds: their sum, quantiles and the longest; null where there was none."""
        quantiles = {f"p{share}": self.quantile(share / 100) for share in (50, 90, 99)}
        return {"sum": self.seconds, **quantiles, "max": self.longest if self.count else None}


class Histogram:
    """Collects times. Belongs to whoever holds a lock on it."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(BOUNDS) + 1, np.int64)
        self._seconds = self._longest = 0.0

    def add(self, seconds: Sequence[float] | NDArray[np.float64]) -> None:
        times = np.asarray(seconds, np.float64)
        if times.size:
            self._counts += np.bincount(np.searchsorted(BOUNDS, times), minlength=len(self._counts))
            self._seconds += float(times.sum())
            self._longest = max(self._longest, float(times.max()))

    def read(self) -> Latencies:
        return Latencies(tuple(self._counts.tolist()), self._seconds, self._longest)
