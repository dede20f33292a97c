import argparse
import hashlib
import io
import json
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attn_export.source.checkpoints.files import read_checkpoint
from attn_runtime.errors import CheckpointError
from safetensors.torch import save_file
from torch import nn

WEIGHTS = {"a.weight": torch.ones(2), "a.bias": torch.zeros(1), "b.weight": torch.arange(3.0)}
PARTS = {"a.weight": "w-00001-of-00002", "a.bias": "w-00001-of-00002", "b.weight": "w-00002-of-00002"}


def sharded(folder: Path, suffix: str = "safetensors", name: str = "model.safetensors.index.json") -> Path:
    for part in sorted(set(PARTS.values())):
        held = {k: v for k, v in WEIGHTS.items() if PARTS[k] == part}
        file = folder / f"{part}.{suffix}"
        save_file(held, file) if suffix == "safetensors" else torch.save(held, file)
    table = {k: f"{part}.{suffix}" for k, part in PARTS.items()}
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 24}, "weight_map": table}))
    return folder / name


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("by_folder", [True, False])
def test_parts_are_read_by_their_index_or_its_folder(tmp_path: Path, suffix: str, by_folder: bool) -> None:
    index = sharded(tmp_path, suffix)
    file = read_checkpoint(tmp_path if by_folder else index)
    assert file.path == index and list(file.root) == list(WEIGHTS)
    assert all(torch.equal(file.root[k], v) for k, v in WEIGHTS.items())
    (tmp_path / "config.json").write_text("{}")
    lines = subprocess.run(
        ["sha256sum", index.name, *(p.name for p in file.parts)], cwd=tmp_path, capture_output=True, check=True
    )
    assert file.sha256 == hashlib.sha256(lines.stdout).hexdigest()
    save_file({"a.weight": torch.ones(2)}, file.parts[0])
    assert file.sha256 != hashlib.sha256(lines.stdout).hexdigest()


def test_parts_may_be_links_as_in_a_cache(tmp_path: Path) -> None:
    index = sharded(tmp_path)
    (tmp_path / "blobs").mkdir()
    part = next(tmp_path.glob("*.safetensors"))
    part.symlink_to(part.rename(tmp_path / "blobs" / "abc"))
    assert torch.equal(read_checkpoint(index).root["a.weight"], torch.ones(2))


def _without_part(folder: Path) -> None:
    (folder / "w-00002-of-00002.safetensors").unlink()


def _without_name(folder: Path) -> None:
    save_file({"other": torch.ones(1)}, folder / "w-00002-of-00002.safetensors")


def _index(content: str) -> Callable[[Path], Any]:
    return lambda folder: (folder / "model.safetensors.index.json").write_text(content)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_without_part, "its part w-00002-of-00002.safetensors is missing; fetch it"),
        (_without_name, "lacks 1 of the 1 tensors that the index promises: b.weight"),
        (
            _index('{"weight_map": {"a": "../w.safetensors"}}'),
            'names the part "../w.safetensors"; expected a file in the same',
        ),
        (_index('{"weight_map": {"a": "/etc/passwd"}}'), "expected a file in the same folder"),
        (_index('{"weight_map": {"a": ".."}}'), "expected a file in the same folder"),
        (_index('{"weight_map": {"a": "a.fifo"}}'), "its part a.fifo is not a regular file, but a FIFO"),
        (_index('{"weight_map": {}}'), 'has no "weight_map"'),
        (_index("[1]"), 'has no "weight_map"'),
        (_index("{"), "is not JSON"),
    ],
)
def test_an_index_that_promises_too_much(tmp_path: Path, damage: Callable[[Path], Any], says: str) -> None:
    index = sharded(tmp_path)
    os.mkfifo(tmp_path / "a.fifo")
    damage(tmp_path)
    with pytest.raises(CheckpointError) as told:
        read_checkpoint(index)
    assert says in str(told.value) and "bundle" not in str(told.value)


@pytest.mark.parametrize(
    ("names", "takes"),
    [
        (["pytorch_model.bin", "optimizer.pt", "training_args.bin"], "pytorch_model.bin"),
        (["model.safetensors", "pytorch_model.bin", "zero_to_fp32.py"], "model.safetensors"),
        (["last.ckpt", "hparams.yaml"], "last.ckpt"),
        (["custom.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pt"], "custom.safetensors"),
        (["optimizer.bin", "pytorch_model_fsdp_0/.metadata"], "dcp_to_torch {}/pytorch_model_fsdp_0 weights.pt"),
        (["fp16.safetensors.index.json", "a.safetensors", "b.safetensors"], "fp16.safetensors.index.json"),
        (["a.pt", "b.pt"], "but a folder with a.pt, b.pt; expected one file of weights"),
        (["config.json"], "but a folder with no weights"),
        ([".metadata", "__0_0.distcp"], "torch.distributed.checkpoint.format_utils dcp_to_torch"),
        (["latest", "global_step5"], "python zero_to_fp32.py"),
        (["mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"], "python zero_to_fp32.py"),
    ],
)
def test_which_file_of_a_folder_is_meant(tmp_path: Path, names: list[str], takes: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    if takes in names:
        (tmp_path / takes).unlink()
        sharded(tmp_path, name=takes) if takes.endswith(".json") else _save(tmp_path / takes)
        assert read_checkpoint(tmp_path).path.name == takes
    else:
        with pytest.raises(CheckpointError) as told:
            read_checkpoint(tmp_path)
        assert takes.format(tmp_path) in str(told.value)


def _save(path: Path) -> None:
    save_file(WEIGHTS, path) if path.suffix == ".safetensors" else torch.save(WEIGHTS, path)


@pytest.mark.parametrize("name", ["w.bin", "w.safetensors", "w"])
def test_a_file_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    save_file(WEIGHTS, tmp_path / name)
    assert read_checkpoint(tmp_path / name).root.keys() == WEIGHTS.keys()


def _zip(name: str, content: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(f"w/{name}", content)
        if name == "data.pkl":
            archive.writestr("w/version", b"3\n")
    return held.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("w.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
        ("w.h5", b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        ("w.bin", b"<!DOCTYPE html><html>", "a web page"),
        ("w.pt", b"hello world", "neither safetensors nor a torch file"),
        ("w.pt", b"", "neither safetensors nor a torch file"),
        ("w.pt", b"PK\x03\x04nonsense", "is damaged or cut short; copy it again"),
        ("w.pt", _zip("data.pkl", b"\x80\x02K\x01Q."), "is damaged or cut short"),  # a storage by a number
        ("w.pt", _zip("data.pkl", b"\x80\x02(NQ0cargparse\nNamespace\n."), "so it was not loaded"),
        ("w.npz", _zip("a.npy", b""), "a file of NumPy arrays (.npz); save them as tensors: torch.save({k: torch.from"),
        ("w.pt2", _zip("models/model.json", b"{}"), "an exported program (torch.export.save); give it as SOURCE"),
        ("w.zip", _zip("weights.pt", b"x"), 'a zip file with "w/weights.pt", and none that torch.save writes'),
        ("w.pkl", pickle.dumps({"model": {"w": np.ones(2)}}), "torch.from_numpy(v) for k, v in weights.items()}"),
        ("w.pt", pickle.dumps({"a": argparse.Namespace()}), "is a pickle, or a torch file from before 1.6"),
        ("w.distcp", b"", "is one part of a distributed checkpoint"),
    ],
)
def test_what_is_no_checkpoint_is_called_by_its_name(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError) as told:
        read_checkpoint(tmp_path / name)
    assert says in str(told.value)


def test_objects_beside_tensors_are_left_out_and_a_pickled_module_is_refused(tmp_path: Path, ordinary: Any) -> None:
    torch.save({"state_dict": WEIGHTS, "args": ordinary()}, tmp_path / "w.pt")
    file = read_checkpoint(tmp_path / "w.pt")
    assert file.inert and torch.equal(file.root["state_dict"]["b.weight"], WEIGHTS["b.weight"])
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(
        CheckpointError, match=r"a pickled object \(torch.nn.modules.linear.Linear\).*save its weights alone"
    ):
        read_checkpoint(tmp_path / "module.pt")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), tmp_path / "script.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript program; save its weights alone"):
        read_checkpoint(tmp_path / "script.pt")
    _save(tmp_path / "w.bin")
    (tmp_path / "w.bin").rename(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="is a torch file under the name of safetensors"):
        read_checkpoint(tmp_path / "w.safetensors")


@pytest.mark.parametrize("beside", [{}, {"args": argparse.Namespace()}])
def test_files_from_before_pytorch_1_6(tmp_path: Path, beside: dict[str, Any]) -> None:
    torch.save(WEIGHTS | beside, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    if beside:
        with pytest.raises(
            CheckpointError, match="could run code, so it was not loaded: load it once where you trust it"
        ):
            read_checkpoint(tmp_path / "w.pt")
    else:
        assert torch.equal(read_checkpoint(tmp_path / "w.pt").root["b.weight"], WEIGHTS["b.weight"])
