"""The weights of a folder, read by our own reader and given to transformers as tensors: nothing of the folder runs.

from_pretrained would do more with a folder than load its weights: with peft it loads an adapter that lies there, from a
distributed checkpoint it unpickles, for a .bin it asks the Hub in a thread for a converted one. Given a state_dict it
does what is wanted of it alone: names of older versions, ties, dtypes, and an account of what did not fit.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from attn_runtime.errors import CheckpointError, UsageError
from attn_runtime.escape import printable

from ..quiet import captured_output
from ..source.checkpoints import SCALES, CheckpointFile, read_checkpoint
from .configuration import configs_of
from .library import offline, words_of
from .saved_model import SavedModel

#: Weights that other libraries load, by how their names end.
_OTHERS = {
    ".h5": "TensorFlow",
    ".msgpack": "Flax",
    ".ckpt.index": "TensorFlow",
    ".gguf": "llama.cpp (GGUF)",
    ".onnx": "ONNX",
    ".ot": "Rust",
}


@dataclass(frozen=True)
class Weights:
    """A model with the weights of its folder, in eval mode and float32.

    `missing` names those that the folder has not: they are random. `file` is what was read.
    """

    model: Any
    missing: tuple[str, ...]
    file: CheckpointFile


def load_weights(architecture: Any, saved: SavedModel, folder: Path | None = None) -> Weights:
    """An `architecture` of transformers with the weights in `folder` (that of `saved`), cast to float32.

    Safetensors are read first, a torch file without its objects. What is left out is noted. Raises CheckpointError where
    there are none, a part is missing, shapes are others than config.json says, or weights are quantised.
    """
    folder = folder or saved.folder
    file = read_checkpoint(_with_weights(folder, saved))
    tensors = {k: v for k, v in file.root.items() if isinstance(v, torch.Tensor)} if isinstance(file.root, dict) else {}
    where = f"checkpoint {file.path}"
    if not tensors:
        raise CheckpointError(f"{where} holds no tensors by name; save the model again with save_pretrained")
    _refuse_quantised(tensors, where)
    if file.inert:
        saved.notes.append(f"{file.path.name}: objects beside the tensors are left out, unread")
    halves = Counter(str(t.dtype).removeprefix("torch.") for t in tensors.values() if t.is_floating_point())
    if others := [kind for kind in halves if kind != "float32"]:
        saved.notes.append(
            f"the folder holds {' and '.join(others)} weights; they are exported in float32 (--fp16 and --precision "
            "make further forms)"
        )
    model, told = _made(architecture, saved, tensors, where)
    _settle(model)
    _take_generation_config(model, saved)
    if told["mismatched_keys"]:
        raise CheckpointError(f"{where}: {_mismatch(told['mismatched_keys'])}")
    if told["error_msgs"]:
        raise CheckpointError(
            f"{where} can't be loaded into {architecture.__name__}: {printable(told['error_msgs'][0])}"
        )
    if unused := sorted(told["unexpected_keys"]):
        saved.notes.append(
            f"{architecture.__name__} has no place for {len(unused)} of {len(tensors)} tensors, which are left out: "
            f"{_few(unused)}"
        )
    return Weights(model, tuple(sorted(told["missing_keys"])), file)


def _with_weights(folder: Path, saved: SavedModel) -> Path:
    names = sorted(p.name for p in folder.iterdir())
    if not any(n.endswith((".safetensors", ".bin", ".pt", ".pth", ".index.json", ".distcp")) for n in names):
        other = next(
            (f" for {kind} alone ({n})" for n in names for end, kind in _OTHERS.items() if n.endswith(end)), ""
        )
        held = other or f" (it holds {printable(', '.join(names[:8]))})"
        way = "add --download" if saved.repository else "fetch them, or save the model again with save_pretrained"
        raise CheckpointError(
            f"{saved.ref} holds no weights{held}; expected model.safetensors, or its index and parts: {way}"
        )
    return folder


def _refuse_quantised(tensors: dict[str, torch.Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        small = tensor.dtype.itemsize == 1 and tensor.dtype != torch.bool and tensor.ndim > 1
        # Older versions of GPT-2 and its kin saved their causal mask, of 0 and 1, among the weights.
        mask = tensor.dtype == torch.uint8 and bool((tensor <= 1).all())
        if (small and not mask) or name.endswith(SCALES):
            kind = str(tensor.dtype).removeprefix("torch.")
            raise CheckpointError(
                f"{where} is quantised ({printable(name)} is {kind}); use the weights that it was made from"
            )


def _made(
    architecture: Any, saved: SavedModel, tensors: dict[str, torch.Tensor], where: str
) -> tuple[Any, dict[str, Any]]:
    try:
        with offline():
            made: tuple[Any, dict[str, Any]] = architecture.from_pretrained(
                None,
                config=saved.config,
                state_dict=tensors,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,  # they come back by name, and are refused
                output_loading_info=True,
                trust_remote_code=False,
                local_files_only=True,
            )
    except ImportError as problem:
        raise UsageError(f"{saved.ref}: {architecture.__name__} needs a package: {words_of(problem, 300)}") from problem
    except Exception as problem:  # the library's own words for a config that makes no model
        raise CheckpointError(
            f"{where} can't be loaded into {architecture.__name__}: {words_of(problem, 300)}"
        ) from problem
    return made


def _settle(model: Any) -> None:
    """In eval mode, without gradients; no answers besides those that are asked for, whatever config.json says."""
    model.eval().requires_grad_(False)
    for config in configs_of(model.config):
        config.return_dict = True
        config.output_hidden_states = False
        config.output_attentions = False


def _take_generation_config(model: Any, saved: SavedModel) -> None:
    """from_pretrained reads generation_config.json of a folder, and of a state_dict makes one from config.json instead.

    The file stands for the whole: what it leaves out is not taken from config.json (transformers 5.23)."""
    values = saved.read_json("generation_config.json")
    if not values or not model.can_generate():
        return
    try:
        with captured_output():
            model.generation_config = model.generation_config_class.from_dict(values)
    except Exception as problem:  # the library's own words for values that it does not take
        raise UsageError(f"{saved.ref}: generation_config.json: {words_of(problem, 300)}") from problem


def _mismatch(found: Any) -> str:
    name, have, want = sorted(found, key=str)[0]
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return (
        f"{printable(name)} is {list(have)}, and {list(want)} in the model that config.json describes{more}; the weights are "
        "of another model, or config.json is: save both again with save_pretrained"
    )


def _few(names: list[str]) -> str:
    return printable(", ".join(names[:3])) + (", ..." if len(names) > 3 else "")
