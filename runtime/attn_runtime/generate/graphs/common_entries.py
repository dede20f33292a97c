"""How much of the cache two beams of a prompt have in common, so that one takes over from the other no more than the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class CommonEntries:
    """For any two beams of a prompt how many entries, from the first on, were copied from one and the same row. What was
    computed in two rows does not count, even of equal tokens: where a row lies in a batch may change the last bits."""

    def __init__(self, lengths: Sequence[int], beams: int) -> None:
        """At first all beams of a prompt hold its entries, `lengths` of them."""
        of_prompts = np.array(lengths, np.int64)[:, None, None]
        self._count: NDArray[np.int64] = np.broadcast_to(of_prompts, (len(lengths), beams, beams)).copy()

    def follow(self, parents: Sequence[int], lengths: Sequence[int]) -> list[int]:
        """Row i, numbered through all prompts, becomes what row parents[i] of the same prompt is, of which lengths[i] entries
        count. Returns how many of them it has already, for each row."""
        prompts, beams, _ = self._count.shape
        each, every = np.arange(prompts)[:, None], np.arange(beams)
        self._count[:, every, every] = np.array(lengths).reshape(prompts, beams)
        on = np.array(parents).reshape(prompts, beams) - each * beams
        had: list[int] = self._count[each, every, on].reshape(-1).tolist()
        self._count = self._count[each[:, :, None], on[:, :, None], on[:, None, :]]
        return had
