import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from attn_export.source.checkpoints import load_checkpoint
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


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
@pytest.mark.parametrize(
    ("dtype", "kind"), [(torch.float16, "float16"), (torch.bfloat16, "bfloat16"), (None, "bfloat16")]
)
def test_weights_are_cast_to_what_the_module_has(tmp_path: Path, name: str, dtype: Any, kind: str) -> None:
    """`None` is mixed: matrices in bfloat16, vectors in float32."""
    state = net().state_dict()
    floats = {k for k, v in state.items() if v.is_floating_point() and (dtype or v.ndim > 1)}
    state = {k: v.to(dtype or torch.bfloat16) if k in floats else v for k, v in state.items()}
    module = net()
    loaded = load_checkpoint(module, saved(tmp_path / name, state))
    plain = net()
    plain.load_state_dict(state)  # copies into the module, so that its dtypes count
    for key, value in plain.state_dict().items():
        got = module.state_dict()[key]
        assert got.dtype == value.dtype and torch.equal(got, value)
    assert loaded.notes == (
        f"checkpoint {tmp_path / name}: {len(floats)} tensors are cast from {kind} to float32, the module's dtype",
    )


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (
            torch.ones(3, 4).to(torch.float8_e4m3fn),
            "0.weight is float8_e4m3fn, and float32 in the module; it is quantised",
        ),
        (torch.ones(3, 4, dtype=torch.int8), "0.weight is int8, and float32 in the module; it is quantised"),
        (
            torch.ones(3, 4, dtype=torch.complex64),
            "0.weight is complex64, and float32 in the module; it is of another kind",
        ),
        (torch.full((3, 4), 1e300, dtype=torch.float64), "it has values that it can't hold"),
    ],
)
def test_what_no_cast_makes_right_is_refused(tmp_path: Path, tensor: torch.Tensor, says: str) -> None:
    module = net()
    before = dict(module.named_parameters())
    with pytest.raises(CheckpointError) as told:
        load_checkpoint(module, saved(tmp_path / "w.pt", net().state_dict() | {"0.weight": tensor}))
    assert says in str(told.value)
    assert all(module.get_parameter(name) is p for name, p in before.items())


def test_whole_numbers_stay_whole(tmp_path: Path) -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("ids", torch.arange(4))
            self.register_buffer("mask", torch.ones(2, dtype=torch.bool))

    state = {"ids": torch.tensor([3, 2, 1, 0], dtype=torch.int32), "mask": torch.tensor([1, 0], dtype=torch.uint8)}
    module = Table()
    load_checkpoint(module, saved(tmp_path / "w.pt", state))
    assert module.ids.tolist() == [3, 2, 1, 0] and module.ids.dtype == torch.int64
    assert module.mask.tolist() == [True, False]
    for wrong in (torch.tensor([0.5, 1, 2, 3]), torch.tensor([2, 1, 0, torch.nan])):
        with pytest.raises(CheckpointError, match="it has values that it can't hold"):
            load_checkpoint(Table(), saved(tmp_path / "w.pt", state | {"ids": wrong}))
    counter = net().state_dict() | {"1.num_batches_tracked": torch.tensor(2.5)}  # an average of two
    load_checkpoint(net(), saved(tmp_path / "w.pt", counter))


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
    with pytest.raises(CheckpointError, match="is damaged or cut short; copy it again"):
        load_checkpoint(net(), tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(net(), tmp_path / "absent.pt")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_tied_weights_stay_one(tmp_path: Path, name: str) -> None:
    donor, receiver = tied(), tied()
    load_checkpoint(receiver, saved(tmp_path / name, {k: v.clone() for k, v in donor.state_dict().items()}))
    assert receiver["head"].weight is receiver["embedding"].weight
    assert len(list(receiver.parameters())) == 1
    assert torch.equal(receiver["head"].weight, donor["head"].weight)


def tied() -> nn.Module:
    module = nn.ModuleDict({"embedding": nn.Embedding(5, 3), "head": nn.Linear(3, 5, bias=False)})
    module["head"].weight = module["embedding"].weight
    return module


@pytest.mark.parametrize("lost", ["embedding.weight", "head.weight"])
def test_tied_weights_may_be_stored_once(tmp_path: Path, lost: str) -> None:
    donor, receiver = tied(), tied()
    nn.init.ones_(donor["head"].weight)
    load_checkpoint(receiver, saved(tmp_path / "w.pt", {k: v for k, v in donor.state_dict().items() if k != lost}))
    assert receiver["head"].weight is receiver["embedding"].weight and receiver["head"].weight.min() == 1


def test_tied_weights_that_differ_are_refused(tmp_path: Path) -> None:
    state = tied().state_dict()
    state["head.weight"] = state["head.weight"] + 1
    with pytest.raises(CheckpointError, match=r"embedding.weight and head.weight hold different numbers, and are one"):
        load_checkpoint(tied(), saved(tmp_path / "w.pt", state))


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_module_that_takes_other_names_is_asked(tmp_path: Path) -> None:
    """Weights of before a parametrisation, and a layout that a module converts by its version number."""

    class Turned(nn.Linear):
        _version = 2

        def _load_from_state_dict(self, state_dict: Any, prefix: str, metadata: Any, *rest: Any) -> None:
            if metadata.get("version") != 2:
                state_dict[f"{prefix}weight"] = -state_dict[f"{prefix}weight"]
            super()._load_from_state_dict(state_dict, prefix, metadata, *rest)

    old = nn.ModuleDict({"norm": nn.utils.weight_norm(nn.Linear(4, 3)), "turned": Turned(2, 2)})
    new = nn.ModuleDict({"norm": nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), "turned": Turned(2, 2)})
    torch.save({"model": old.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    loaded = load_checkpoint(new, tmp_path / "w.pt")
    assert torch.equal(new["norm"].weight, old["norm"].weight) and torch.equal(
        new["turned"].weight, old["turned"].weight
    )
    assert "2 names that are not the module's own were converted by its load hooks" in loaded.notes[0]
    again = Turned(2, 2)
    torch.save({"model.weight": old["turned"].weight, "model.bias": old["turned"].bias}, tmp_path / "plain.pt")
    load_checkpoint(again, tmp_path / "plain.pt")
    assert torch.equal(again.weight, -old["turned"].weight), "as PyTorch does where no version is stored"


def test_a_hook_that_fails_leaves_the_module_as_it_was(tmp_path: Path) -> None:
    class Fails(nn.Linear):
        def _load_from_state_dict(self, *arguments: Any) -> None:
            super()._load_from_state_dict(*arguments)
            raise RuntimeError("no such layout")

    module = nn.Sequential(nn.Linear(2, 2), Fails(2, 2))
    before = dict(module.named_parameters())
    with pytest.raises(CheckpointError, match=r"w\.pt can't be loaded into Sequential: no such layout"):
        load_checkpoint(module, saved(tmp_path / "w.pt", nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).state_dict()))
    assert all(module.get_parameter(name) is p for name, p in before.items())


def test_parts_side_by_side_and_a_folder_are_told(tmp_path: Path) -> None:
    module = nn.ModuleDict({"encoder": nn.Linear(2, 2), "decoder": nn.Linear(2, 3)})
    torch.save({name: part.state_dict() for name, part in module.items()} | {"epoch": 1}, tmp_path / "last.pt")
    loaded = load_checkpoint(module, tmp_path)
    assert loaded.file == "last.pt"
    assert [note.partition(": ")[2] for note in loaded.notes] == [
        "last.pt is taken",
        "encoder and decoder are taken together",
    ]


def test_one_part_of_several_points_to_the_index(tmp_path: Path) -> None:
    file = saved(tmp_path / "model-00001-of-00002.safetensors", {"0.weight": torch.ones(3, 4)})
    with pytest.raises(
        CheckpointError, match="missing .* It is one part of several: give their index, or their folder"
    ):
        load_checkpoint(net(), file)


def test_objects_beside_the_weights_are_told_and_not_made(tmp_path: Path, ordinary: Any) -> None:
    torch.save({"state_dict": net().state_dict(), "hyper_parameters": {"a": [ordinary()]}}, tmp_path / "w.ckpt")
    del sys.modules[ordinary.__module__]
    loaded = load_checkpoint(net(), tmp_path / "w.ckpt")
    assert ordinary.__module__ not in sys.modules
    assert loaded.notes[0].endswith(
        "objects beside the tensors are left out, unread: hyper_parameters (ordinary_objects.Ordinary)"
    )
    torch.save({"model": net(), "epoch": 1}, tmp_path / "w.pt")
    with pytest.raises(
        CheckpointError, match=r"model \(a torch.nn.modules.container.Sequential\), epoch\); .* could run code"
    ):
        load_checkpoint(net(), tmp_path / "w.pt")


def test_an_average_in_a_list_is_told(tmp_path: Path) -> None:
    torch.save({"model": net().state_dict(), "ema": {"shadow_params": [torch.ones(1)]}}, tmp_path / "w.pt")
    assert (
        "ema.shadow_params may be an average of the weights (EMA), a list"
        in load_checkpoint(net(), tmp_path / "w.pt").notes[0]
    )
