"""Where a tensor inside a graph says "not this one": -1e9, -65504, -1e4, written or added by an attention mask."""

from __future__ import annotations

from typing import Any

import numpy as np
from attn_runtime.bundle import Case
from attn_runtime.compare import Fills, Tolerance
from numpy.typing import NDArray

from ...reference import fill_ranges

#: No activation is this large: masks write such numbers (the least float32, -1e30) where they mean minus infinity.
STANDS_FOR_INFINITY = 1e30
#: From here down a masked score weighs nothing, whatever number masks it: half of -1e4, the least of those in use.
_CLOSED = -5e3


def masked_places(reference: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Where both hold a number that stands for minus infinity, bool of their shape; a type of fewer bits has another such number.

    In `reference` it is one that stands for infinity by its size, or a fill value far beyond the rest.
    """
    wide = np.abs(reference) >= STANDS_FOR_INFINITY
    low = np.isfinite(reference) & (reference <= _CLOSED)
    if not (low & ~wide).any():
        return np.asarray(wide)
    filled = Tolerance(fills=_fills(reference)).filled("", reference)
    return np.asarray(wide if filled is None else wide | (filled & low & (other <= _CLOSED)))


def _fills(reference: NDArray[Any]) -> Fills:
    """The fill values of one tensor. A mask before it meets a score is one number, and 0 everywhere else."""
    meant = reference[np.isfinite(reference) & (reference != 0) & (np.abs(reference) < STANDS_FOR_INFINITY)]
    if meant.size and (meant == meant[0]).all():
        return {"": ((float(meant[0]), float(meant[0])),)}
    return fill_ranges([Case("", {}, {}, {"": reference})])
