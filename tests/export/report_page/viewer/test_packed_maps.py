"""The bytes in the page are the weights, to half a step of each row; and there are never more of them than a page bears."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from attn_export.report_page.viewer.packed_maps import Fitting, fitting, packed
from attn_runtime.tasks import AttentionMap, Axis

NUMBERS, CELLS = Axis("index", "number"), Axis("grid", "cells", rows=8, columns=8)


def one(heads: int, queries: int, keys: int, axis: Axis = NUMBERS, seed: int = 0, name: str = "a") -> AttentionMap:
    weights = np.random.default_rng(seed).random((heads, queries, keys)).astype(np.float32) ** 8
    return AttentionMap("model", f"attention_{name}", name, weights / weights.sum(-1, keepdims=True), axis, axis)


def unpacked(layer: dict[str, Any], like: np.ndarray) -> np.ndarray:
    """As viewer.js reads them."""
    levels = np.frombuffer(base64.b64decode(layer["weights"]), np.uint8).reshape(like.shape)
    scales = np.frombuffer(base64.b64decode(layer["scales"]), "<f4").reshape(*like.shape[:2], 1)
    return levels.astype(np.float32) * scales / 255


def test_weights_come_back_to_half_a_step_of_their_row() -> None:
    m = one(3, 5, 700)
    m.weights[1, 2] = 0  # a query whose keys are all masked
    m.weights[0, 0] = np.eye(1, 700)  # one that looks at one key alone, beside others that look at many a little
    (layer,) = packed([m], averaged=False)["layers"]
    found = unpacked(layer, m.weights)
    assert (np.abs(found - m.weights) <= m.weights.max(-1, keepdims=True) / 510 * 1.001 + 1e-9).all()
    assert (found[1, 2] == 0).all() and found[0, 0, 0] == 1


def test_an_axis_is_told_once() -> None:
    words = Axis("words", "word", ("a" * 100, "b"))
    maps = [AttentionMap("g", "o", "", np.full((1, 2, 2), 0.5, np.float32), words, words), one(1, 2, 2)]
    told = packed(maps, averaged=True)
    assert [(layer["query"], layer["key"], layer["name"]) for layer in told["layers"]] == [(0, 0, "o"), (1, 1, "a")]
    assert told["axes"][0]["labels"] == ["a" * 60, "b"] and told["axes"][0]["size"] == 2


@pytest.mark.parametrize(
    ("count", "most", "left", "notes"),
    [
        (6, 10**6, (6, 4, 20, 20), []),
        (6, 9000, (6, 1, 20, 20), ["the mean of its heads"]),
        (6, 1000, (2, 1, 20, 20), ["the mean of its heads", "2 of 6 layers are shown"]),
        (1, 300, (1, 1, 13, 13), ["the mean of its heads", "the first entries alone"]),
    ],
)
def test_what_is_too_much_is_left_out_and_told(count: int, most: int, left: tuple[int, ...], notes: list[str]) -> None:
    found = fitting([one(4, 20, 20, name=str(n)) for n in range(count)], most)
    kept, told = found.maps, found.notes
    assert found.averaged == ("mean" in " ".join(told))
    assert (len(kept), *kept[0].weights.shape) == left
    assert len(told) == len(notes) and all(note in line for note, line in zip(notes, told, strict=True))
    assert sum(m.weights.size + 4 * m.weights[..., 0].size for m in kept) <= most


def test_cells_of_a_picture_are_not_cut() -> None:
    assert fitting([one(1, 64, 64, CELLS)], 1000) == Fitting([], False, ["the maps are too large to be shown"])
    assert fitting([one(1, 0, 0)], 1000) == Fitting([], False, [])
