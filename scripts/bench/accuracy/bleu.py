"""BLEU of translations as tokens: Papineni et al., "BLEU: a Method for Automatic Evaluation of Machine Translation" (2002)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

#: The longest runs of tokens that are counted.
LONGEST = 4


def bleu(found: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> float:
    """0..100 of a whole test set, one reference a sentence: sums of all its sentences, not smoothed, the brevity penalty of its
    length. 0 where no run of four tokens is right.

    Raises ValueError where there are more of the one than of the other.
    """
    right, made = [0] * LONGEST, [0] * LONGEST
    for own, reference in zip(found, wanted, strict=True):
        for size in range(1, LONGEST + 1):
            runs, expected = _runs(own, size), _runs(reference, size)
            right[size - 1] += (runs & expected).total()
            made[size - 1] += runs.total()
    if not all(right):
        return 0.0
    precision = math.exp(sum(math.log(r / m) for r, m in zip(right, made, strict=True)) / LONGEST)
    lengths = sum(map(len, wanted)) / sum(map(len, found))
    return 100 * precision * math.exp(min(0.0, 1 - lengths))


def _runs(tokens: Sequence[int], size: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(tokens[start : start + size]) for start in range(len(tokens) - size + 1))
