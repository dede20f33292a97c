"""Attention maps as they lie in the page: bytes, each row of weights by its own scale, and not more of them than a page bears."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from attn_runtime.tasks import AttentionMap, Axis

#: Bytes of all weights of a page; four thirds of it as text.
MOST_BYTES = 1_500_000
_SCALE_BYTES = 4
#: Characters of a word.
_MOST_LETTERS = 60


@dataclass(frozen=True)
class Fitting:
    """The maps that are shown, whether each is the mean of its heads, and what was left out, a line each."""

    maps: list[AttentionMap]
    averaged: bool
    notes: list[str]


def fitting(maps: Sequence[AttentionMap], most: int) -> Fitting:
    """The maps in `most` bytes together.

    First the heads become their mean, then layers are left out at even distances, then entries at the ends.
    """
    kept, notes = [m for m in maps if m.weights.size], []
    whole = _bytes(kept)
    averaged = whole > most and any(m.weights.shape[0] > 1 for m in kept)
    if averaged:
        kept = [replace(m, weights=m.weights.mean(0, keepdims=True)) for m in kept]
        notes.append(f"the weights would take {whole / 1e6:.1f} MB: of each layer the mean of its heads is shown")
    if (size := _bytes(kept)) > most and len(kept) > 1:
        count, kept = len(kept), kept[:: math.ceil(size / most)]
        notes.append(f"{len(kept)} of {count} layers are shown")
    if _bytes(kept) > most:
        kept = [cut for m in kept if (cut := _cut(m, most // len(kept))) is not None]
        notes.append(
            "of each layer the first entries alone are shown" if kept else "the maps are too large to be shown"
        )
    return Fitting(kept, averaged, notes)


def _bytes(maps: Sequence[AttentionMap]) -> int:
    return sum(m.weights.size + m.weights[..., 0].size * _SCALE_BYTES for m in maps)


def _cut(m: AttentionMap, most: int) -> AttentionMap | None:
    """The first entries of both axes; None of one with cells, which lie all over the picture."""
    if "grid" in (m.query.kind, m.key.kind):
        return None
    side = math.isqrt(most // m.weights.shape[0]) - _SCALE_BYTES
    return replace(m, weights=m.weights[:, :side, :side], query=_first(m.query, side), key=_first(m.key, side))


def _first(axis: Axis, count: int) -> Axis:
    return replace(axis, labels=axis.labels[:count])


def packed(maps: Sequence[AttentionMap], averaged: bool) -> dict[str, Any]:
    """What the viewer reads: `axes`, each once, and `layers`, whose rows are bytes times the row's scale over 255."""
    axes: list[dict[str, Any]] = []

    def number(axis: Axis, size: int) -> int:
        told = _axis(axis, size)
        if told not in axes:
            axes.append(told)
        return axes.index(told)

    layers = []
    for m in maps:
        heads, queries, keys = m.weights.shape
        largest = m.weights.max(-1, keepdims=True).astype(np.float32)
        levels = np.rint(m.weights / np.where(largest > 0, largest, 1) * 255).astype(np.uint8)
        layers.append(
            {
                "name": m.module or m.output,
                "graph": m.graph,
                "heads": heads,
                "averaged": averaged,
                "query": number(m.query, queries),
                "key": number(m.key, keys),
                "weights": base64.b64encode(levels.tobytes()).decode(),
                "scales": base64.b64encode(largest.astype("<f4").tobytes()).decode(),
            }
        )
    return {"axes": axes, "layers": layers}


def _axis(axis: Axis, size: int) -> dict[str, Any]:
    return {
        "kind": axis.kind,
        "what": axis.what,
        "size": size,
        "labels": [label[:_MOST_LETTERS] for label in axis.labels],
        "rows": axis.rows,
        "columns": axis.columns,
        "skip": axis.skip,
        "seconds": axis.seconds,
    }
