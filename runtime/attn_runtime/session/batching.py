"""Which rows are run as one call."""

from __future__ import annotations

from collections.abc import Sequence


def batches(keys: Sequence[object], most: int) -> list[list[int]]:
    """Numbers of the rows of each batch, in order: those in a row whose keys (a length, shapes) are equal, up to `most`."""
    found: list[list[int]] = []
    for number, key in enumerate(keys):
        if not found or len(found[-1]) >= most or keys[found[-1][0]] != key:
            found.append([])
        found[-1].append(number)
    return found
