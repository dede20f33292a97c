"""A checkpoint's files: which one is meant, what it is by its first bytes, and what it holds."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from attn_runtime.bundle import sha256_of
from attn_runtime.errors import AttnError, CheckpointError
from attn_runtime.files import irregular, is_file, is_folder, not_utf8, read_json, shown

from ...quiet import captured_output
from .inert_pickle import load_tensors, origin_of

_INDEX = ".index.json"
#: Files of a folder that hold a whole model, and indexes of one in parts: the first that is there is meant.
_WHOLE = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_WEIGHTS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
_SAVE = "torch.save(module.state_dict(), 'weights.pt')"
#: The way out of a pickle that is nothing without its code.
TRUST = f"load it once where you trust it, and save its weights alone, {_SAVE}"
_FROM_NUMPY = "torch.save({{k: torch.from_numpy(v) for k, v in {}.items()}}, 'weights.pt')"
#: The same where the weights are NumPy arrays, as in Detectron2's .pkl.
TRUST_ARRAYS = f"load it once where you trust it, and save the arrays as tensors, {_FROM_NUMPY.format('weights')}"
#: Names of files that trainers leave beside the weights.
_BESIDE = ("optim", "scheduler", "rng_state", "random_states", "training_args", "scaler", "sampler")
#: First bytes of what is taken for a checkpoint and is none that PyTorch's own loader reads.
_FOREIGN = {
    b"version https://git-lfs": "a Git LFS pointer, and the weights lie elsewhere; fetch them with git lfs pull",
    b"\x89HDF": "an HDF5 file (Keras); load it there and save the tensors by name with safetensors",
    b"GGUF": "a GGUF file, quantised for llama.cpp; use the weights that it was made from",
    b"<!DOCTYPE": "a web page, not the file that its address names; download it again",
    b"<html": "a web page, not the file that its address names; download it again",
}


@dataclass(frozen=True)
class CheckpointFile:
    """The file that was meant, the parts that it names, and its content: plain data, dicts and tensors (and `Inert`)."""

    path: Path
    parts: tuple[Path, ...]
    root: Any
    inert: bool = False  # it holds other objects too, and they were left out

    @property
    def sha256(self) -> str:
        """Of the file; of one in parts, of the lines that `sha256sum INDEX PART...` prints in the folder."""
        return self.sha256_by(self.hashes())

    def hashes(self) -> dict[Path, str]:
        """The sha256 of the file and of each of its parts."""
        return {path: sha256_of(path) for path in (self.path, *self.parts)}

    def sha256_by(self, hashes: Mapping[Path, str]) -> str:
        """`sha256`, where `hashes` are known already: weights are long to read."""
        if not self.parts:
            return hashes[self.path]
        lines = "".join(f"{sha256}  {path.relative_to(self.path.parent)}\n" for path, sha256 in hashes.items())
        return hashlib.sha256(lines.encode()).hexdigest()


def read_checkpoint(path: Path) -> CheckpointFile:
    """Read safetensors, a torch file, an index of parts (`*.index.json`), or the folder that holds one of them.

    No code of the file is run. Raises CheckpointError for what is missing, damaged, or of another kind.
    """
    path = _find(path)
    if path.name.endswith(_INDEX):
        return _read_parts(path)
    root, inert = _read_file(path)
    return CheckpointFile(path, (), root, inert)


def _find(path: Path) -> Path:
    if is_folder(path):
        path = _find_in_folder(path)
    if not is_file(path):
        raise CheckpointError(f"checkpoint {path}: {irregular(path) or 'no such file'}")
    if problem := not_utf8(path):
        raise CheckpointError(f"checkpoint {path}: its path {problem}")
    if path.suffix == ".distcp":
        raise CheckpointError(f"checkpoint {path} is one part of a distributed checkpoint; {_of_distcp(path.parent)}")
    return path


def _find_in_folder(folder: Path) -> Path:
    names = sorted(p.name for p in folder.iterdir())
    if name := next((name for name in _WHOLE if name in names), None):
        return folder / name
    if ".metadata" in names or any(n.endswith(".distcp") for n in names):
        raise CheckpointError(f"checkpoint {folder} is a distributed checkpoint (FSDP); {_of_distcp(folder)}")
    if any(n.startswith(("global_step", "zero_to_fp32", "mp_rank_", "zero_pp_rank_")) for n in names):
        raise CheckpointError(
            f"checkpoint {folder} is a DeepSpeed checkpoint, its weights spread over ranks; gather them with the script "
            f"that DeepSpeed leaves beside it: python zero_to_fp32.py {folder} OUTPUT, and give what it writes"
        )
    if inside := next((n for n in names if (folder / n / ".metadata").is_file() and not n.startswith("optim")), None):
        raise CheckpointError(
            f"checkpoint {folder} holds a distributed checkpoint (FSDP), {inside}; {_of_distcp(folder / inside)}"
        )
    found = [n for n in names if n.endswith(_INDEX)] or [n for n in names if n.endswith(_WEIGHTS)]
    found = [n for n in found if not n.startswith(_BESIDE)]
    if len(found) == 1:
        return folder / found[0]
    raise CheckpointError(
        f"checkpoint {folder} is not a regular file, but a folder with {', '.join(found[:8]) or 'no weights'}; expected one "
        f"file of weights in it, or one of {', '.join(_WHOLE)}: name the file itself"
    )


def _of_distcp(folder: Path) -> str:
    return (
        "bring it into one file, and give that: "
        f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {folder} weights.pt"
    )


def _read_parts(path: Path) -> CheckpointFile:
    try:
        index = read_json(path, f"checkpoint {path}")
    except AttnError as problem:
        raise CheckpointError(str(problem).replace("re-export the bundle", "download it again")) from problem
    table = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(table, dict) or not table or not all(isinstance(v, str) for v in table.values()):
        raise CheckpointError(f'checkpoint {path} has no "weight_map" of names to files; expected an index of parts')
    root: dict[str, Any] = {}
    parts = []
    for name in dict.fromkeys(table.values()):
        if name in ("", ".", "..") or any(c in name for c in "/\\\0"):
            raise CheckpointError(f"checkpoint {path} names the part {shown(name)}; expected a file in the same folder")
        part = path.parent / name
        if not is_file(part):
            raise CheckpointError(f"checkpoint {path}: its part {name} is {irregular(part)[3:] or 'missing'}; fetch it")
        held, _ = _read_file(part)
        promised = [key for key, file in table.items() if file == name]
        lacking = [key for key in promised if not isinstance(held, dict) or key not in held]
        if lacking:
            raise CheckpointError(
                f"checkpoint {path}: its part {name} lacks {len(lacking)} of the {len(promised)} tensors that the index "
                f"promises: {', '.join(lacking[:5])}{', ...' if len(lacking) > 5 else ''}; fetch both again"
            )
        root |= {key: held[key] for key in promised}
        parts.append(part)
    return CheckpointFile(path, tuple(parts), root)


def _read_file(path: Path) -> tuple[Any, bool]:
    """Its content, and whether other objects were left out of it."""
    with path.open("rb") as f:
        head = f.read(64)
    for magic, text in _FOREIGN.items():
        if head.startswith(magic):
            raise CheckpointError(f"checkpoint {path} is {text}")
    is_zip = head.startswith(b"PK\x03\x04")
    header = int.from_bytes(head[:8], "little")
    if is_zip and path.suffix == ".safetensors":
        raise CheckpointError(
            f"checkpoint {path} is a torch file under the name of safetensors; rename it to end in .pt"
        )
    if (head[8:9] == b"{" and header < path.stat().st_size) or (path.suffix == ".safetensors" and not is_zip):
        return _read_safetensors(path), False
    try:
        if is_zip and "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
            raise CheckpointError(
                f"checkpoint {path} is a TorchScript program; save its weights alone: "
                "torch.save(torch.jit.load(path).state_dict(), 'weights.pt')"
            )
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip), False
    except pickle.UnpicklingError as problem:
        return _read_without_objects(path, head, is_zip, problem), True
    except CheckpointError:
        raise
    except Exception as problem:  # a damaged or hostile file may raise whatever it likes
        if is_zip and (found := _zip_of_others(path)):
            raise CheckpointError(f"checkpoint {path} is {found}") from problem
        if not is_zip and head[:1] != b"\x80":
            raise CheckpointError(_no_checkpoint(path)) from problem
        raise CheckpointError(
            f"checkpoint {path} is damaged or cut short; copy it again ({_first_line(problem)})"
        ) from problem


def _zip_of_others(path: Path) -> str | None:
    """What a whole zip file is that PyTorch's loader has not written."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if any(name.endswith("data.pkl") for name in names):
        return None
    if any(name.endswith(("archive_format", "models/model.json")) for name in names):
        return "an exported program (torch.export.save); give it as SOURCE, or save its weights alone: " + (
            "torch.save(torch.export.load(path).state_dict, 'weights.pt')"
        )
    if names and all(name.endswith(".npy") for name in names):
        return f"a file of NumPy arrays (.npz); save them as tensors: {_FROM_NUMPY.format('numpy.load(path)')}"
    held = shown(", ".join(names[:3]))
    return f"a zip file with {held}, and none that torch.save writes; unpack it, and give the file of weights"


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as problem:
        raise CheckpointError(f"checkpoint {path} is not a whole safetensors file: {problem}") from problem


def _read_without_objects(path: Path, head: bytes, is_zip: bool, why: Exception) -> Any:
    """The tensors of a file that PyTorch's safe loader refuses as a whole, for the objects beside them."""
    if not is_zip and head[:1] != b"\x80":
        raise CheckpointError(_no_checkpoint(path)) from why
    if not is_zip:
        with path.open("rb") as f:
            arrays = b"_reconstruct" in f.read(1 << 16)  # what a NumPy array is unpickled by
        raise CheckpointError(
            f"checkpoint {path} is a pickle, or a torch file from before 1.6, with {'NumPy arrays' if arrays else 'objects'} "
            f"beside its tensors; loading it could run code, so it was not loaded: {TRUST_ARRAYS if arrays else TRUST}"
        ) from why
    try:
        with captured_output():
            root = load_tensors(path)
    except Exception as problem:  # a hostile file may raise whatever it likes
        raise CheckpointError(
            f"checkpoint {path} holds more than tensors, and loading it could run code, so it was not loaded; without "
            f"those objects it can't be read: {_first_line(problem)}; {TRUST}"
        ) from problem
    if (origin := origin_of(root)) is not None:
        raise CheckpointError(
            f"checkpoint {path} is a pickled object ({shown(origin)[1:-1]}), no state_dict; loading it could run code, so it "
            f"was not loaded: {TRUST}"
        )
    return root


def _no_checkpoint(path: Path) -> str:
    return f"checkpoint {path} is neither safetensors nor a torch file; save the weights as one: {_SAVE}"


def _first_line(problem: Exception) -> str:
    return (str(problem).splitlines() or [type(problem).__name__])[0][:200]
