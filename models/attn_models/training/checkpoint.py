"""Weights and training state on disk: safetensors only, each file written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attn_runtime.errors import CheckpointError, OutputError
from attn_runtime.files import irregular, is_file
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn, optim

from .distributed import sharding


def make_folder(folder: Path) -> None:
    """Create `folder`, before the work whose result goes there. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: can't be created ({error.strerror or error}); choose another --out") from error
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: can't be written to; choose another --out")


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` so that a reader sees the old file or the new one, also after kill -9. Raises OutputError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(
            f"{path}: can't be written ({error.strerror or error}); make room or choose another --out"
        ) from error


def save_weights(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A state dict of whole tensors on the CPU; `metadata` is for people and tools, nothing depends on it."""
    write_whole(path, save(dict(tensors), {"format": "pt", **metadata}))


def state_of(module: nn.Module, optimizer: optim.Optimizer, best: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors that a training needs to go on: weights, those of the best epoch, and the optimiser's state."""
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state[parameter].items():
            tensors[f"optimizer.{name}.{key}"] = value
    return tensors


def save_state(path: Path, tensors: Mapping[str, Tensor], run: Mapping[str, Any]) -> None:
    """What `state_of` gave, whole and on the CPU, and `run` (JSON values)."""
    write_whole(path, save(dict(tensors), {"run": json.dumps(run)}))


def read_state(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(run, tensors) of a file that `save_state` wrote. Raises CheckpointError."""
    if not is_file(path):
        if problem := irregular(path):
            raise CheckpointError(f"{path}: {problem}; start again without --resume")
        raise CheckpointError(f"{path}: no unfinished training here to resume; start one without --resume")
    try:
        with safe_open(path, "pt") as file:
            run = json.loads((file.metadata() or {})["run"])
            return run, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dict)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: not a training state ({error}); start again without --resume") from error


def restore_weights(path: Path, tensors: Mapping[str, Tensor], module: nn.Module) -> None:
    """Put the weights that `read_state` read into the module, before it is sharded. Raises CheckpointError."""
    try:
        module.load_state_dict(_under("model.", tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: does not fit this model: {reason}; start again without --resume") from error


def restore_optimizer(tensors: Mapping[str, Tensor], module: nn.Module, optimizer: optim.Optimizer) -> None:
    """Put the optimiser's state that `read_state` read into the optimiser of the module, sharded where that is."""
    names = {parameter: name for name, parameter in module.named_parameters()}
    state: dict[int, dict[str, Tensor]] = {}
    for number, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
        values = _under(f"optimizer.{names[parameter]}.", tensors)
        if values:
            state[number] = {key: sharding.like(tensor, parameter) for key, tensor in values.items()}
    # Through load_state_dict: it puts each tensor on the device and into the dtype that the optimiser wants.
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def restore_best(tensors: Mapping[str, Tensor], module: nn.Module) -> dict[str, Tensor]:
    """The weights of the best epoch so far, as the module has its own; {} if they are the module's own."""
    now = module.state_dict()
    return {name: sharding.like(t, now[name]).to(now[name].device) for name, t in _under("best.", tensors).items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
