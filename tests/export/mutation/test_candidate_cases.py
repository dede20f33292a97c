"""Cases that could join a proof: which are drawn, and which prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from attn_export.mutation import candidates
from attn_export.reference import independent
from attn_runtime.bundle import Arrays, Case, GoldenRef
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError
from attn_runtime.spec import Dim, TensorSpec

B, T = Dim("B", 1, 4, 8), Dim("T", 2, 16, 64)
X = TensorSpec("x", "float32", (B, T))
IDS = TensorSpec("ids", "int64", (B, T), low=0, high=50)
KEEP = TensorSpec("keep", "bool", (B, T))
DRAWN = ["drawn 1", "drawn 2", "drawn 3", "drawn 4"]


def made(
    inputs: tuple[TensorSpec, ...], answer: Callable[[Arrays], Arrays], **how: Any
) -> dict[str, GoldenRef[Arrays]]:
    def ask(case: Case[Arrays], fed: Arrays) -> Case[Arrays]:
        with np.errstate(all="ignore"):
            return replace(case, inputs=fed, outputs=answer(fed))

    found = candidates(inputs, independent(inputs), ask, Tolerance(), 7, **how)
    assert len({c.name for c in found}) == len(found)
    return {c.name: c for c in found}


def doubled(fed: Arrays) -> Arrays:
    return {"y": 2 * next(iter(fed.values())).astype(np.float32)}


def test_other_seeds_at_small_sizes_then_edges_of_the_first() -> None:
    found = made((IDS,), doubled)
    assert [*found][:4] == DRAWN and {"ids all first", "ids all last", "ids counted 2"} <= set(found)
    assert found["drawn 1"].sizes == found["drawn 2"].sizes == found["ids all first"].sizes == {"B": 5, "T": 7}
    assert all(1 <= c.sizes["B"] <= 5 and 2 <= c.sizes["T"] <= 7 for c in found.values())
    assert [found[n].seed for n in DRAWN] == [7, 8, 9, 10] and found["ids all last"].seed == 7
    assert all(np.array_equal(c.outputs["y"], 2 * c.inputs["ids"]) for c in found.values())
    assert all(c.checked_sizes == c.sizes and not c.types for c in found.values())


def test_scaled_floats_are_for_fp32_alone() -> None:
    found = made((X, KEEP), doubled)
    scaled = {n for n, c in found.items() if c.types}
    assert scaled == {"inputs times 100", "inputs times 0.001"} and found["inputs times 100"].types == ("fp32",)
    assert {"keep one on", "keep with an empty row"} <= set(found)


def test_what_pytorch_has_no_finite_and_settled_answer_to_is_left_out() -> None:
    def failing(fed: Arrays) -> Arrays:
        if not fed["keep"].any(-1).all():
            raise CaptureError("an empty row")
        return {"y": np.exp(fed["x"] * np.float32(2))}

    found = made((X, KEEP), failing)
    assert "keep with an empty row" not in found and "keep one on" in found
    assert "inputs times 100" not in found and "inputs times 0.001" in found
    steep = made((X,), lambda fed: {"y": np.sin(fed["x"] * np.float32(2))})
    assert "inputs times 100" not in steep and "inputs times 0.001" in steep
    assert made((X,), lambda fed: {"y": fed["x"] * np.float32(np.nan)}) == {}


def test_inputs_that_depend_on_one_another_have_no_edges() -> None:
    assert [*made((IDS, KEEP), doubled, dependent=True)] == DRAWN


def test_what_is_too_big_to_store_is_left_out() -> None:
    found = made((IDS,), doubled, most_bytes=5 * 7 * 12 - 1)
    assert found and set(found) <= {"drawn 3", "drawn 4"}
