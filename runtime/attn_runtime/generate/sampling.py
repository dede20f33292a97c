"""Tokens drawn from the model's distribution, cut to its likely part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .options import Sample
from .topk import largest


class Sampler:
    """Draws a token for each row. See `Sample`; every row has its own stream, one number of it goes into a token."""

    def __init__(self, sample: Sample, rows: int) -> None:
        self._sample = sample
        # PCG64's stream is fixed for good; what default_rng makes of a seed is not.
        self._streams = [np.random.Generator(np.random.PCG64(seed)) for seed in sample.seeds(rows)]

    def __call__(self, logits: NDArray[Any], active: NDArray[np.bool_]) -> NDArray[np.int64]:
        tokens: NDArray[np.int64] = logits.argmax(1)  # which tells of a NaN, too
        for row in np.flatnonzero(active & np.isfinite(logits.max(1))).tolist():
            tokens[row] = draw(logits[row], self._sample, self._streams[row].random())
        return tokens


def draw(logits: NDArray[Any], sample: Sample, number: float) -> int:
    """The token that `number`, uniform in 0..1, stands for: by the inverse of the distribution that `sample` leaves."""
    tokens, weights = distribution(logits, sample)
    upto = np.cumsum(weights)
    place = int(np.searchsorted(upto, number * upto[-1], side="right"))
    # Rounded up to the whole sum, a number is beyond the last token, and stands for the last one that can be drawn.
    return int(tokens[place if place < len(tokens) else np.flatnonzero(weights)[-1]])


def distribution(logits: NDArray[Any], sample: Sample) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(tokens, probabilities) that are left after temperature, top_k and top_p, likeliest first where either cuts."""
    scaled = logits.astype(np.float64)
    with np.errstate(over="ignore"):  # of a temperature near 0: minus infinity is what it should be, infinity is not
        scaled = (scaled - scaled.max()) / (sample.temperature or 1.0)
    tokens = np.arange(len(scaled))
    if sample.top_k is not None or sample.top_p is not None:
        tokens = largest(scaled, min(sample.top_k or len(scaled), len(scaled)))
        scaled = scaled[tokens]
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    if sample.top_p is not None:
        enough = int(np.searchsorted(np.cumsum(weights), sample.top_p, side="left")) + 1
        tokens, weights = tokens[:enough], weights[:enough] / weights[:enough].sum()
    return tokens, weights
