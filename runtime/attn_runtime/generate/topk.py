"""The largest of many numbers, in an order that does not depend on how they were found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Fewest groups of a beam's tokens whose largest ones are looked at. More of them leave fewer candidates, and take longer.
_GROUPS = 16
#: More candidates than so many times the sums that are wanted are sorted no faster than all of them are.
_MANY = 64


def largest(values: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The places of the `count` largest values of a vector, largest first; of equal ones that with the lowest place first."""
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        above = np.flatnonzero(values > least)
        equal = np.flatnonzero(values == least)[: count - len(above)]
        places = np.sort(np.concatenate([above, equal]))
    else:
        places = np.arange(len(values))
    found: NDArray[np.int64] = places[np.argsort(-values[places], kind="stable")]
    return found


def largest_sums(
    logits: NDArray[Any], totals: NDArray[np.float64], sums: NDArray[np.float64], count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Of every row the `count` largest of logits - totals + sums, where a row of a search has beams and a beam has tokens:
    logits [rows, beams, tokens], totals and sums [rows, beams]. What is added up is in float64.

    Returns (the sums, largest first; their places token * beams + beam), both [rows, least of `count` and beams * tokens]. Of
    equal sums that with the lower token comes first, and of one token that of the better beam, which has the lower number.

    Hardly any of the sums is made: the largest of some groups of tokens say how large a sum must be, and a logit that can't
    reach that is left after one comparison.
    """
    rows, beams, tokens = logits.shape
    bounds = _bounds(logits, totals, sums, count)
    if bounds is not None:
        found = np.flatnonzero(logits >= bounds[:, :, None])
        if len(found) <= _MANY * count * rows:
            of_beam, token = np.divmod(found, tokens)
            row, beam = np.divmod(of_beam, beams)
            values = logits.reshape(-1)[found] - totals.reshape(-1)[of_beam] + sums.reshape(-1)[of_beam]
            order = np.lexsort((beam, token, -values, row))
            first = np.searchsorted(row, np.arange(rows))  # of each row's candidates, which lie together
            order = order[first[:, None] + np.arange(count)]
            return values[order], (token * beams + beam)[order]
    count = min(count, beams * tokens)
    values, places = np.empty((rows, count)), np.empty((rows, count), np.int64)
    for number in range(rows):
        every = ((logits[number] - totals[number, :, None]) + sums[number, :, None]).T.reshape(-1)
        places[number] = largest(every, count)
        values[number] = every[places[number]]
    return values, places


def _bounds(
    logits: NDArray[Any], totals: NDArray[np.float64], sums: NDArray[np.float64], count: int
) -> NDArray[Any] | None:
    """[rows, beams], of the logits' type: below it no logit's sum is among the `count` largest of its row, nor equal to the
    least of them. None where there are too few tokens to tell.

    Sums are never less for a larger logit, rounded or not. So a bound holds where the number just below it has a sum that is
    too small, which is looked at; where it does not, as with an infinity or a NaN on the way, all logits may be large enough.
    """
    rows, beams, tokens = logits.shape
    groups = max(_GROUPS, 2 * count // beams)  # twice as many as are wanted
    size = tokens // groups
    if size < 2:
        return None
    most = logits[:, :, : groups * size].reshape(rows, beams, groups, size).max(3)
    seen = (most - totals[:, :, None] + sums[:, :, None]).reshape(rows, -1)
    least = np.partition(seen, seen.shape[1] - count)[
        :, -count, None
    ]  # so many of the row's sums are as large, or larger
    with np.errstate(invalid="ignore", over="ignore"):
        unrounded = (least - sums) + totals
        unrounded -= 2.0**-50 * (abs(least) + abs(sums) + abs(totals))  # more than what rounding may have added
        bounds = unrounded.astype(logits.dtype)
        below = np.nextafter(bounds, logits.dtype.type(-math.inf))
        bounds[~(below - totals + sums < least)] = -math.inf
    return bounds
