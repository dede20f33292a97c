"""A draw of the user's chooses sizes itself; what is traced and what is proven follows what came out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from attn_export.reference import Drawn, Signature, check_varied, corner_cases, record_answers, run_module, trace_inputs
from attn_export.source.inputs_from import draw_with
from attn_runtime.bundle import Case
from attn_runtime.errors import CaptureError, UsageError
from attn_runtime.spec import Dim, TensorSpec
from support.models.packed_images import SPECS, Rows, draw
from torch import Tensor, nn

A_B = (TensorSpec("x", "float32", (Dim("A", 1, 4, 8), Dim("B", 1, 4, 8))),)


class Sum(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(-1)


def given(*sizes: tuple[int, int]) -> Signature:
    """A signature whose draws come out at these sizes in turn, whatever is asked for."""
    left = list(sizes)

    def one(asked: Mapping[str, int], seed: int) -> Drawn:
        a, b = left.pop(0) if len(left) > 1 else left[0]
        return Drawn({"x": np.zeros((a, b), np.float32)}, {"A": a, "B": b})

    return Signature(Sum(), A_B, draw=one)


def test_independent_inputs_are_traced_at_the_sizes_asked_for() -> None:
    inputs, sizes = trace_inputs(Signature(Sum(), A_B), 0)
    assert sizes == {"A": 4, "B": 3} and inputs["x"].shape == (4, 3)


def test_sizes_that_would_be_baked_in_are_drawn_again() -> None:
    assert trace_inputs(given((1, 1), (3, 3), (3, 5), (7, 7)), 0).sizes == {"A": 3, "B": 5}
    assert trace_inputs(given((1, 5), (3, 3)), 0).sizes == {"A": 3, "B": 3}  # alike is better than 1
    assert trace_inputs(given((6, 5), (3, 4)), 0).sizes == {"A": 6, "B": 5}  # at once


def test_a_dim_that_never_varies_is_refused_and_a_missed_end_is_told() -> None:
    def seen(*sizes: tuple[int, int]) -> list[Case]:
        return [Case(str(n), {"A": a, "B": b}, {}, {}) for n, (a, b) in enumerate(sizes)]

    with pytest.raises(UsageError, match=r"dim B came out as 4 in every case, expected sizes of 1..8; .* --dim B=4"):
        check_varied(given((1, 1)), seen((1, 4), (8, 4)))
    assert check_varied(given((1, 1)), seen((1, 1), (8, 8))) == []
    assert check_varied(given((1, 1)), seen((1, 2), (8, 7), (8, 2))) == [
        "dim B (1..8) is checked at 2, 7, by --inputs-from"
    ]
    assert check_varied(Signature(Sum(), A_B), seen((1, 4), (8, 4))) == []


def test_pytorch_is_asked_at_the_sizes_that_were_drawn() -> None:
    alone = Signature(Rows(), SPECS)
    with pytest.raises(CaptureError, match="rows, and grid says"):
        record_answers(alone, corner_cases(SPECS), 0)
    together = Signature(Rows(), SPECS, draw=draw_with(draw, SPECS)[1])
    answers = record_answers(together, corner_cases(SPECS), 0)
    for answer in answers:
        rows = int(answer.inputs["grid"].prod(-1).sum())
        assert answer.sizes == {"P": rows, "images": len(answer.inputs["grid"])}
        assert answer.outputs["output"].shape == (rows,)
    again = run_module(together, answers[0], together.draw(corner_cases(SPECS)[0].sizes, 0).inputs)
    np.testing.assert_array_equal(again.outputs["output"], answers[0].outputs["output"])
