import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from attn_export.source.checkpoints import load_checkpoint, refuse_nan, silent_gates
from attn_runtime.errors import CheckpointError
from safetensors.torch import save_file
from torch import nn


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))


def saved(path: Path, state: dict[str, torch.Tensor]) -> Path:
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_weights_come_back(tmp_path: Path, name: str, prefix: str) -> None:
    donor, receiver = net(), net()
    with torch.no_grad():
        donor[0].weight.add_(1)
    load_checkpoint(receiver, saved(tmp_path / name, {prefix + k: v for k, v in donor.state_dict().items()}))
    for key, value in donor.state_dict().items():
        assert torch.equal(receiver.state_dict()[key], value)


def test_weights_under_a_training_scripts_key(tmp_path: Path) -> None:
    donor = net()
    torch.save({"epoch": 3, "model_state_dict": donor.state_dict()}, tmp_path / "w.pt")
    load_checkpoint(net(), tmp_path / "w.pt")
    torch.save({"epoch": 3, "weights": [1, 2]}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="holds no state_dict \\(found: epoch, weights\\)"):
        load_checkpoint(net(), tmp_path / "w.pt")


def test_a_mismatch_names_every_kind_of_key(tmp_path: Path) -> None:
    state = net().state_dict()
    del state["0.bias"]
    state["head.weight"] = torch.ones(2)
    state["0.weight"] = torch.ones(5, 4)
    module = net()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    with pytest.raises(CheckpointError) as told:
        load_checkpoint(module, saved(tmp_path / "w.safetensors", state))
    for part in ("missing 1: 0.bias", "unexpected 1: head.weight", "misshapen 1: 0.weight [5, 4] (module: [3, 4])"):
        assert part in str(told.value)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


def test_a_pickled_object_is_refused_and_its_module_is_not_imported(tmp_path: Path, ordinary: Any) -> None:
    torch.save({"0.weight": ordinary()}, tmp_path / "torch.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps({"0.weight": ordinary()}))
    del sys.modules[ordinary.__module__]
    for name in ("torch.pt", "plain.pt"):
        with pytest.raises(CheckpointError, match="could run code, so it was not loaded"):
            load_checkpoint(net(), tmp_path / name)
        assert ordinary.__module__ not in sys.modules


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    whole = saved(tmp_path / "w.safetensors", net().state_dict()).read_bytes()
    (tmp_path / "w.safetensors").write_bytes(whole[:-10])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_checkpoint(net(), tmp_path / "w.safetensors")
    whole = saved(tmp_path / "w.pt", net().state_dict()).read_bytes()
    (tmp_path / "w.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="can't be read|could run code"):
        load_checkpoint(net(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(net(), tmp_path / "absent.pt")


def test_nan_is_told_and_infinity_is_not() -> None:
    module = net()
    module.register_buffer("mask", torch.tensor([0.0, -torch.inf]))
    refuse_nan(module, "net")
    with torch.no_grad():
        module[0].weight[1, 2] = torch.nan
    with pytest.raises(CheckpointError, match=r"has NaN in 1 tensor: 0\.weight \(1 of 12\)"):
        refuse_nan(module, "net")


def test_a_gate_at_zero_is_told() -> None:
    module = net()
    module.register_parameter("gamma", nn.Parameter(torch.zeros(1)))
    assert silent_gates(module) == ["gamma"]
    nn.init.ones_(module.gamma)
    assert silent_gates(module) == []


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_tied_weights_stay_one(tmp_path: Path, name: str) -> None:
    def tied() -> nn.Module:
        module = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
        module["head"].weight = module["embedding"].weight
        return module

    donor, receiver = tied(), tied()
    load_checkpoint(receiver, saved(tmp_path / name, {k: v.clone() for k, v in donor.state_dict().items()}))
    assert receiver["head"].weight is receiver["embedding"].weight
    assert len(list(receiver.parameters())) == 1
    assert torch.equal(receiver["head"].weight, donor["head"].weight)
