"""What is found out by asking a model, shown on modules that have just the one trait."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from attn_export.huggingface import SavedModel
from attn_export.huggingface.tasks.probe import Ask, Tensors, draw, fitted, heeds_mask, resting_on, small
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import nn

AXES = (Dim("batch", 1, 2, 8), Dim("length", 1, 8, 16))
INPUTS = (
    TensorSpec("input_ids", "int64", AXES, low=0, high=50),
    TensorSpec("attention_mask", "bool", AXES),
)
SAVED = SavedModel(Path("folder"), None, None, None)


def test_masks_are_all_true_and_no_size_is_one() -> None:
    assert small(INPUTS) == {"batch": 2, "length": 2}
    assert bool(draw(INPUTS, small(INPUTS))["attention_mask"].all())


@pytest.mark.parametrize(
    ("mask", "heeds"), [(lambda t: t["attention_mask"], True), (lambda t: torch.ones_like(t["attention_mask"]), False)]
)
def test_whether_padding_changes_an_answer(mask: object, heeds: bool) -> None:
    def ask(given: Tensors) -> Tensors:
        kept = mask(given) * given["input_ids"]  # type: ignore[operator]
        return {"logits": kept.sum(1, keepdim=True).float(), "tokens": kept[..., None].float()}

    assert heeds_mask(INPUTS, ask) is heeds


def refuses(at: str, least: int) -> Ask:
    def ask(given: Tensors) -> Tensors:
        rows, length = given["input_ids"].shape
        if (length if at == "length" else rows) < least or (at == "rows" and rows > 1):
            raise ValueError(f"{rows} rows of {length}\ntokens")
        return {"logits": torch.zeros(rows)}

    return ask


def test_ranges_begin_where_the_model_does() -> None:
    found = fitted(INPUTS, refuses("length", 3), SAVED)
    assert str(found[0].dims[1]) == str(found[1].dims[1]) == "length=4..16"
    assert SAVED.notes[-1] == "the model takes no text shorter than 4 tokens"
    alone = fitted(INPUTS, refuses("rows", 1), SAVED)
    assert str(alone[0].dims[0]) == "batch=1" and SAVED.notes[-1].startswith(
        "the model takes one row alone (2 rows of 2 tok"
    )


def test_a_model_that_answers_nothing_is_refused_in_its_own_words() -> None:
    with pytest.raises(
        UsageError, match=r"folder: the model does not answer inputs .*: 1 rows of 1 tokens; wrap it"
    ) as told:
        fitted(INPUTS, refuses("length", 99), SAVED)
    assert "\n" not in str(told.value)


def test_which_outputs_rest_on_a_weight() -> None:
    net = nn.ModuleDict({"body": nn.Linear(1, 4), "head": nn.Linear(4, 2)})

    def ask(given: Tensors) -> Tensors:
        x = net["body"](given["input_ids"].float()[..., None])
        return {"hidden": x, "logits": net["head"](x)}

    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert resting_on(net, ["head.bias"], INPUTS, ask) == {"logits"}
    assert resting_on(net, ["body.weight"], INPUTS, ask) == {"hidden", "logits"}
    assert resting_on(net, ["elsewhere"], INPUTS, ask) == {"hidden", "logits"}
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
