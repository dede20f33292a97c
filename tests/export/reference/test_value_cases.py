"""Cases of unusual values: which are made, what they hold, and which prove nothing and are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from attn_export.reference.draw import independent
from attn_export.reference.value_cases import ValueCases, is_mask, value_cases
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec, Values

B, T = Dim("B", 1, 4, 8), Dim("T", 1, 16, 64)
X = TensorSpec("x", "float32", (B, T))
KEEP = TensorSpec("keep", "bool", (B, T))


def made(inputs: tuple[TensorSpec, ...], answer: Callable[[Arrays], Arrays]) -> ValueCases:
    def ask(case: Case[Arrays], fed: Arrays) -> Case[Arrays]:
        with np.errstate(all="ignore"):
            return replace(case, inputs=fed, outputs=answer(fed))

    return value_cases(inputs, independent(inputs), ask, Tolerance(), 3)


def softmax(x: np.ndarray, keep: np.ndarray, guard: bool) -> np.ndarray:
    scores = np.where(keep, x, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    return np.where(np.isnan(weights), 0, weights).astype(np.float32) if guard else weights.astype(np.float32)


def test_every_float_input_times_100_and_a_thousandth() -> None:
    count = TensorSpec("count", "int64", (B,), low=0, high=9)
    found = made((X, count), lambda fed: {"y": fed["x"] + fed["count"][:, None].astype(np.float32)})
    large, tiny = found.answers
    assert (large.name, tiny.name) == ("large", "tiny") and found.left_out == []
    assert np.allclose(large.inputs["x"], tiny.inputs["x"] * 1e5, rtol=1e-5)
    assert np.array_equal(large.inputs["count"], tiny.inputs["count"])
    assert large.sizes == {"B": 5, "T": 7}, "small, and no two alike"


def test_values_stay_within_the_bounds_that_are_declared() -> None:
    pixel = TensorSpec("x", "float32", (B, T), values=Values("uniform", low=0, high=1))
    large, tiny = made((pixel,), lambda fed: {"y": fed["x"]}).answers
    assert large.inputs["x"].max() == 1 and tiny.inputs["x"].min() >= 0 and tiny.inputs["x"].max() <= 1e-3


def test_what_is_not_finite_in_pytorch_is_no_case() -> None:
    found = made((X,), lambda fed: {"y": np.exp(fed["x"])})
    assert [a.name for a in found.answers] == ["tiny"]
    assert found.left_out == ["large: PyTorch's answers are not finite"]


def test_infinities_that_are_always_there_do_not_count() -> None:
    found = made((X,), lambda fed: {"y": np.concatenate([fed["x"], np.full((len(fed["x"]), 1), -np.inf, "f4")], 1)})
    assert [a.name for a in found.answers] == ["large", "tiny"]


def test_what_rounding_alone_moves_is_no_case() -> None:
    """At 100 times the usual inputs a softmax of squares stands on a knife's edge: no exporter can be held to it."""
    found = made((X,), lambda fed: {"y": np.sin(fed["x"] * 3000).astype(np.float32)})
    assert [a.name for a in found.answers] == ["tiny"]
    assert "when rounding alone moves the inputs" in found.left_out[0]


def test_what_pytorch_refuses_is_no_case() -> None:
    def answer(fed: Arrays) -> Arrays:
        if np.abs(fed["x"]).max() > 50:
            raise CaptureError("no such value")
        return {"y": fed["x"]}

    assert made((X,), answer).left_out == ["large: PyTorch itself fails"]


def test_a_mask_gets_an_empty_row_and_left_padding_under_both_meanings() -> None:
    found = made((X, KEEP), lambda fed: {"y": softmax(fed["x"], fed["keep"], guard=True)})
    (mask,) = [a for a in found.answers if a.name == "mask-keep"]
    rows = mask.inputs["keep"]
    assert not rows[0].any() and rows[2].all()
    assert not rows[1, 0] and rows[1, -1] and rows[3, 0] and not rows[3, -1]
    assert np.array_equal(rows[4], draw_inputs((X, KEEP), mask.sizes, 3)["keep"][4]), "the rest as drawn"


def test_a_row_without_a_finite_answer_is_left_out_and_said() -> None:
    found = made((X, KEEP), lambda fed: {"y": softmax(fed["x"], fed["keep"], guard=False)})
    (mask,) = [a for a in found.answers if a.name == "mask-keep"]
    assert mask.inputs["keep"].any(-1).all() and (~mask.inputs["keep"][:, 0]).any(), "left padding stays"
    assert "mask-keep: PyTorch has no finite and settled answer to a row that is all zero" in found.left_out


def test_a_row_whose_answer_is_but_rounding_is_left_out_and_said() -> None:
    """Scores that all have 1e6 taken off keep 0.06 of precision."""

    def answer(fed: Arrays) -> Arrays:
        x = torch.from_numpy(fed["x"])
        scores = x.sigmoid() * 3 - 1e6 * (1 - torch.from_numpy(fed["keep"]).float())
        return {"y": torch.softmax(scores, -1).numpy()}

    found = made((X, KEEP), answer)
    (mask,) = [a for a in found.answers if a.name == "mask-keep"]
    assert mask.inputs["keep"].any(-1).all()
    assert "mask-keep: PyTorch has no finite and settled answer to a row that is all zero" in found.left_out


@pytest.mark.parametrize("dims", [(Dim.fixed(1), T), (T,), (Dim.fixed(1), Dim.fixed(1), T, T)])
def test_one_row_at_a_time_where_there_is_one(dims: tuple[Dim, ...]) -> None:
    keep = TensorSpec("keep", "bool", dims)
    asked: list[Arrays] = []

    def answer(fed: Arrays) -> Arrays:
        asked.append(fed)
        return {"y": fed["keep"].astype(np.float32)}

    found = made((keep,), answer)
    assert len({mask.tobytes() for mask in (fed["keep"] for fed in asked)}) == 5, "the four cases, and the usual one"
    assert len(asked) == 1 + 4 * 2, "each as it is, and once nudged and under noise, which move nothing"
    assert [a.name for a in found.answers] == ["mask-keep", "mask-keep-2", "mask-keep-3", "mask-keep-4"]
    kinds = [a.inputs["keep"].mean() for a in found.answers]
    assert kinds[0] == 0 and kinds[2] == 1 and 0 < kinds[1] < 1 and 0 < kinds[3] < 1


def test_which_inputs_are_masks() -> None:
    assert is_mask(KEEP) and is_mask(TensorSpec("m", "int64", (B, T), low=0, high=2))
    assert not is_mask(X) and not is_mask(TensorSpec("m", "int64", (B, T), low=0, high=3))
    assert not is_mask(TensorSpec("flag", "bool", ())), "a single flag has no rows"


def test_an_integer_mask_keeps_its_type() -> None:
    mask = TensorSpec("m", "int64", (B, T), low=0, high=2)
    (answer,) = made((mask,), lambda fed: {"y": fed["m"].astype(np.float32)}).answers
    assert answer.inputs["m"].dtype == np.int64 and set(np.unique(answer.inputs["m"])) == {0, 1}


def test_token_ids_alone_have_no_unusual_values() -> None:
    tokens = TensorSpec("tokens", "int64", (B, T), low=0, high=99)
    assert made((tokens,), lambda fed: {"y": fed["tokens"]}).answers == []


def test_pictures_are_few() -> None:
    picture = TensorSpec("x", "float32", (B, Dim.fixed(3), Dim.fixed(512), Dim.fixed(512)))
    assert made((picture,), lambda fed: {"y": fed["x"].mean((1, 2, 3))}).answers[0].sizes == {"B": 2}


def test_heavy_models_are_asked_at_the_smallest_sizes() -> None:
    """A call takes as long as reading the weights several times, for each of five to seven rows."""
    asked: list[dict[str, int]] = []

    def ask(case: Case[Arrays], fed: Arrays) -> Case[Arrays]:
        asked.append(dict(case.sizes))
        return replace(case, inputs=fed, outputs={"y": fed["x"]})

    value_cases((X,), independent((X,)), ask, Tolerance(), 3, weight_bytes=3 << 30)
    assert asked == [{"B": 2, "T": 3}] * 4, (
        "each magnitude, and once with nudge and rounding noise, which move little; usual values only where they are needed"
    )
