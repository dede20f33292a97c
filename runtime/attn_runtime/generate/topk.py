"""The largest of many numbers, in an order that does not depend on how they were found."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
