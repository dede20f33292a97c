"""What is too big to store is stored smaller, and inputs that depend on one another are drawn smaller together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch
from attn_export.reference import Signature, choose, corner_cases, is_unusual, record_answers, run_module, smaller
from attn_export.source.input_specs import parse_dims, parse_inputs
from attn_export.source.inputs_from import draw_with
from attn_runtime.bundle import Arrays, Case
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec
from support.models.packed_images import SPECS, Rows, draw
from torch import nn


def test_dependent_inputs_shrink_together() -> None:
    signature = Signature(Rows(), SPECS, draw=draw_with(draw, SPECS)[1])
    answers = record_answers(signature, corner_cases(SPECS), 0)
    golden = choose(signature, answers, 0, max_bytes=400)
    # One of unusual values that is too big is no golden case.
    assert [g.name for g in golden] == [a.name for a in answers if not is_unusual(a.name)]
    shrunk = [g for g in golden if g.sizes != g.checked_sizes]
    assert shrunk
    for one in golden:
        rows = int(one.inputs["grid"].prod(-1).sum())
        assert one.sizes == {"P": rows, "images": len(one.inputs["grid"])}
        np.testing.assert_allclose(one.outputs["output"], one.inputs["patches"].sum(-1), atol=1e-6)


def test_examples_are_cases_of_their_own_and_are_cut_only_where_inputs_are_independent() -> None:
    examples = [draw({"P": 36, "images": images}, 0) for images in (4, 3)]
    together = Signature(Rows(), SPECS, draw=draw_with(draw, SPECS)[1])
    answers = [a for a in record_answers(together, [], 0, examples) if not is_unusual(a.name)]
    assert [a.name for a in answers] == ["example", "example-2"]
    assert [a.sizes["images"] for a in answers] == [4, 3]
    whole = choose(together, answers, 0, max_bytes=100)
    assert all(g.sizes == g.checked_sizes for g in whole)

    class Patches(Rows):
        def forward(self, patches, grid):  # type: ignore[no-untyped-def]
            return patches.sum(-1)

    for cut, own in zip(choose(Signature(Patches(), SPECS), answers, 0, max_bytes=100), answers, strict=True):
        assert cut.sizes["P"] < own.sizes["P"]
        np.testing.assert_array_equal(cut.inputs["patches"], own.inputs["patches"][: cut.sizes["P"]])


def test_the_dim_farthest_above_its_least_is_halved_down_to_nothing_where_that_is_allowed() -> None:
    dims = {"B": Dim("B", 1, 2, 4), "T": Dim("T", 0, 4, 16)}
    assert smaller({"B": 2, "T": 16}, dims) == {"B": 2, "T": 8}
    assert smaller({"B": 1, "T": 1}, dims) == {"B": 1, "T": 0}
    assert smaller({"B": 1, "T": 0}, dims) is None


def test_pytorch_is_asked_for_the_size_that_fits_and_for_no_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The inputs of a sequence are small beside its hidden states: each halving was a run of the model."""

    class Wide(nn.Module):
        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return tokens[..., None].expand(*tokens.shape, 64).float()

    asked: list[int] = []

    def counted(signature: Signature, case: Case[Arrays], inputs: Arrays) -> Case[Arrays]:
        asked.append(inputs["tokens"].size)
        return run_module(signature, case, inputs)

    specs = parse_inputs(["tokens:int64[batch,T]<9"], parse_dims(["batch=1:2:8", "T=1:8:128"]))
    signature = Signature(Wide(), specs)
    answers = record_answers(signature, corner_cases(specs), 0)
    monkeypatch.setattr("attn_export.reference.golden.run_module", counted)
    drawn: list[int] = []

    def drawing(specs: Sequence[TensorSpec], sizes: Mapping[str, int], seed: int) -> Arrays:
        inputs = draw_inputs(specs, sizes, seed)
        drawn.append(inputs["tokens"].size)
        return inputs

    monkeypatch.setattr("attn_export.reference.draw.draw_inputs", drawing)
    golden = choose(signature, answers, 0, max_bytes=40_000)
    shrunk = [g for g in golden if g.sizes != g.checked_sizes]
    assert len(shrunk) > 1 and asked == [g.inputs["tokens"].size for g in shrunk]
    assert drawn == asked, "nor are inputs drawn at another"
    assert all(g.outputs["output"].nbytes <= 40_000 for g in golden)
