from collections import OrderedDict
from typing import Any

import pytest
import torch
from attn_export.source.checkpoints.state_dicts import at_key, is_average, joined, nameless_averages, state_dicts
from attn_runtime.errors import CheckpointError

W = {"w": torch.ones(2)}


def keys(root: Any) -> list[str]:
    return [s.key for s in state_dicts(root)]


@pytest.mark.parametrize(
    ("root", "found"),
    [
        (W, [""]),
        ({"model": W, "step": 3}, ["model"]),
        ({"a": {"b": {"c": W}}, "ema": {"module": W | {}, "updates": 1}}, ["a.b.c", "ema.module"]),
        ({"optimizer": {"state": W}, "optim": W, "model": W}, ["model"]),
        ({"state": {0: W}, "list": [W]}, []),
        ({"w": torch.ones(1), "model": W}, ["", "model"]),
        (W["w"], []),
        ({"model": W, "sparse": {"w": W["w"].to_sparse()}, "meta": {"w": W["w"].to("meta")}}, ["model"]),
    ],
)
def test_where_state_dicts_lie(root: Any, found: list[str]) -> None:
    assert keys(root) == found


def test_dicts_that_hold_each_other_end() -> None:
    root: dict[str, Any] = {"model": W}
    root["self"] = root
    wide: dict[str, Any] = dict(W)
    for _ in range(60):
        wide = {"a": wide, "b": wide}
    assert keys(root) == ["model"] and keys(wide) == []


def test_version_numbers_come_along_and_nothing_else() -> None:
    state = OrderedDict(W)
    state._metadata = {"": {"version": 2}, "a": {"version": "2"}, "b": 1, 3: {"version": 1}}
    (found,) = state_dicts({"model": state})
    assert found.versions == {"": {"version": 2}}


ROOT = {
    "model": {"module.student.w": torch.ones(1), "module.teacher.w": torch.ones(2)},
    "ema": {"module": {"w": torch.ones(3)}},
    "params_ema": {"w": torch.ones(4)},
}


@pytest.mark.parametrize(
    ("key", "size"),
    [
        ("params_ema", 4),
        ("ema", 3),
        ("ema.module", 3),
        ("module", 3),
        ("teacher", 2),
        ("model.module.teacher", 2),
        ("model.teacher", 2),
    ],
)
def test_a_key_names_a_dict_its_end_or_the_beginning_of_names(key: str, size: int) -> None:
    (found,) = at_key(state_dicts(ROOT), key, "checkpoint w.pt")
    assert {name: len(t) for name, t in found.tensors.items()} == {"w": size}


def test_an_unknown_key_is_told_what_there_is() -> None:
    with pytest.raises(CheckpointError) as told:
        at_key(state_dicts(ROOT), "param_ema", "checkpoint w.pt")
    for part in (
        'w.pt has nothing under the key "param_ema"',
        "did you mean params_ema?",
        "model (2 tensors)",
        "ema.module",
    ):
        assert part in str(told.value)


@pytest.mark.parametrize(
    ("key", "average"),
    [
        *[(k, True) for k in ("ema", "state_dict_ema", "model_ema", "params_ema", "ema_model.module", "ema_0.999")],
        *[
            (k, True)
            for k in ("swa_model", "averaged_model", "EMA", "ModelEMA", "modelEma", "shadow_params", "EMACallback")
        ],
        *[
            (k, False)
            for k in ("schema", "model", "remap", "lemma", "SCHEMA", "theme_a", "emanet", "teacher", "averagepool")
        ],
    ],
)
def test_what_is_called_an_average(key: str, average: bool) -> None:
    assert is_average(key) is average


def test_averages_without_names_are_found() -> None:
    root = {"ema": {"decay": 0.9, "shadow_params": [torch.ones(1)]}, "ema_sizes": [1], "list": [torch.ones(1)]}
    assert list(nameless_averages(root)) == ["ema.shadow_params"]


def test_parts_side_by_side_as_one() -> None:
    assert list(joined(state_dicts({"encoder": W, "decoder": dict(W)})).tensors) == ["encoder.w", "decoder.w"]
