from typing import Any

import pytest
import torch
from attn_export.source.checkpoints.choose import Choice, Misfit, choose
from attn_export.source.checkpoints.names import Own
from attn_export.source.checkpoints.state_dicts import at_key, state_dicts
from attn_runtime.errors import CheckpointError
from torch import nn


def weights(value: float, prefix: str = "") -> dict[str, torch.Tensor]:
    return {f"{prefix}weight": torch.full((2, 3), value), f"{prefix}bias": torch.full((2,), value)}


RAW, EMA = weights(1), weights(2)


def chosen(root: Any, key: str | None = None) -> Choice:
    found = state_dicts(root)
    found = at_key(found, key, "checkpoint w.pt") if key else found
    return choose(Own.of(nn.Linear(3, 2)), found, "checkpoint w.pt", named=key is not None)


def value(choice: Choice) -> float:
    return choice.state.tensors[choice.fit.table["weight"]].max().item()


@pytest.mark.parametrize(
    ("root", "key"),
    [
        ({"state_dict": RAW, "state_dict_ema": EMA}, "state_dict_ema"),
        ({"model": RAW, "ema": {"module": EMA, "updates": 10}}, "ema.module"),
        ({"params_ema": EMA, "params": RAW}, "params_ema"),
        ({"model_ema": EMA, "model": RAW}, "model_ema"),
        ({"state_dict": weights(1, "model.") | weights(2, "ema_model.module.")}, "state_dict.ema_model"),
        (RAW | weights(2, "ema."), "ema"),
        ({"best": RAW, "ema": EMA}, "ema"),
        ({"model": weights(1, "module."), "swa": weights(2, "module.") | {"n_averaged": torch.tensor(3)}}, "swa"),
    ],
)
def test_raw_weights_are_taken_and_an_average_is_told_and_can_be_chosen(root: Any, key: str) -> None:
    choice = chosen(root)
    assert value(choice) == 1
    (note,) = [note for note in choice.notes if "EMA" in note]
    assert note == f"{key} fits as well as an average of the weights (EMA): --checkpoint-key {key} takes it"
    by_key = chosen(root, key)
    assert value(by_key) == 2 and not [note for note in by_key.notes if "EMA" in note]


@pytest.mark.parametrize(
    ("root", "notes"),
    [
        ({"state_dict": RAW}, []),
        ({"network": RAW}, []),
        ({"module": RAW, "dtype": "x"}, []),
        ({"ema": {"module": RAW}}, ["ema.module is taken, an average of the weights (EMA)"]),
        (
            {"generator": RAW, "discriminator": {"w": torch.ones(1)}},
            ["generator is taken, the only weights in it that fit"],
        ),
        (weights(1, "module.model."), ["names are matched without module. and model."]),
        (
            {"model": RAW, "best_model": weights(3)},
            ["best_model fits as well: --checkpoint-key best_model takes it"],
        ),
        (
            weights(1, "module.") | {"n_averaged": torch.tensor(3)},
            ["names are matched without module.", "its weights are the average of 3 modules (AveragedModel)"],
        ),
        (
            weights(1, "model.") | {"criterion.class_weight": torch.ones(2)},
            ["names are matched without model.", "1 left out that the module has not: criterion.class_weight"],
        ),
        ({"model": RAW, "ema": {"x": torch.ones(1)}}, ["ema may be an average of the weights (EMA), and does not fit"]),
    ],
)
def test_what_was_not_as_a_plain_load_has_it_is_told(root: Any, notes: list[str]) -> None:
    choice = chosen(root)
    assert value(choice) == 1 and list(choice.notes) == notes


def test_what_belongs_to_an_average_beside_the_weights_is_left_out_with_it() -> None:
    choice = chosen(RAW | weights(2, "ema.module.") | {"ema.updates": torch.tensor(3)})
    assert value(choice) == 1 and choice.notes[-1] == "1 left out that the module has not: ema.updates"


def test_a_key_means_what_lies_right_below_it() -> None:
    root = {"student": RAW | weights(2, "copy.")}
    assert value(chosen(root, "student")) == 1 and value(chosen(root, "student.copy")) == 2
    with pytest.raises(CheckpointError, match="has 2 sets of weights that fit Linear: student, student.copy"):
        chosen(root)


@pytest.mark.parametrize(
    ("root", "names", "key"),
    [
        (weights(1, "student.") | weights(2, "teacher."), "student, teacher", "teacher"),
        ({"student": RAW, "teacher": EMA}, "student, teacher", "teacher"),
        ({"m": weights(1, "module.student.") | weights(2, "module.teacher.")}, "m.student, m.teacher", "m.teacher"),
        ({"ema_1": RAW, "ema_2": EMA}, "ema_1, ema_2", "ema_2"),
    ],
)
def test_several_that_fit_are_refused_until_one_is_named(root: Any, names: str, key: str) -> None:
    with pytest.raises(CheckpointError) as told:
        chosen(root)
    assert f"has 2 sets of weights that fit Linear: {names}; name one: --checkpoint-key " in str(told.value)
    assert not isinstance(told.value, Misfit)
    assert value(chosen(root, key)) == 2


@pytest.mark.parametrize(
    ("root", "says"),
    [
        (RAW | {"head": torch.ones(1)}, "unexpected 1: head. Save what Linear has alone"),
        (weights(1, "model.") | {"model.aux": torch.ones(1)}, "under model: unexpected 1: model.aux"),
        ({"model": {"weight": RAW["weight"]}, "x": {"y": torch.ones(1)}}, "under model: missing 1: bias"),
        (
            {"model": {"weight": RAW["weight"]}, "x": {"y": torch.ones(1)}},
            "state_dicts lie in: model (1 tensors), x (1",
        ),
        ({"weight": RAW["weight"], "bias": "text"}, "missing 1: bias; bias is a str there, no dense tensor"),
        ({"weight": torch.empty(0), "bias": torch.empty(0)}, "empty ones are DeepSpeed's (ZeRO-3)"),
        (
            RAW | {"weight": torch.ones(3, 1, dtype=torch.uint8)},
            "weight [3, 1] (module: [2, 3]); it is quantised: use the weights that it was made from.$",
        ),
        ({"base_model.lora_A.weight": torch.ones(1)}, "merge it into its model first"),
        (RAW | {"lora_A.weight": torch.ones(1)}, "merge it into its model first (merge_and_unload).$"),
        (RAW | {"weight": torch.ones(2, 3).char(), "SCB": torch.ones(2)}, "use the weights that it was made from.$"),
        (RAW | {"weight_scale_inv": torch.ones(2)}, "it is quantised: use the weights that it was made from.$"),
        (RAW | {"weight": torch.ones(2, 3).to_sparse()}, "weight is a sparse tensor there, no dense tensor (DTensor."),
    ],
)
def test_a_misfit_says_what_is_wrong(root: Any, says: str) -> None:
    with pytest.raises(Misfit) as told:
        chosen(root)
    assert says in f"{told.value}$"


def test_what_an_average_keeps_beside_its_module_is_none_of_its_weights() -> None:
    root = {"state_dict": RAW, "ema_state_dict": {"steps": torch.tensor(3)} | weights(2, "module.")}
    choice = chosen(root, "ema_state_dict")
    assert value(choice) == 2 and "1 left out that the module has not: steps" in choice.notes
    with pytest.raises(Misfit, match="unexpected 1: module.extra"):
        chosen({"steps": torch.tensor(3), "module.extra": torch.ones(1)} | weights(2, "module."))
