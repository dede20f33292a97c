"""Weights from a file into a module, without ever running code from that file."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from attn_runtime.errors import CheckpointError
from attn_runtime.files import irregular
from torch import nn
from torch.nn.parameter import is_lazy

#: Keys under which training scripts keep the weights beside the optimiser's state.
_NESTED = ("state_dict", "model_state_dict", "model")


def load_checkpoint(module: nn.Module, path: Path) -> None:
    """Load safetensors or a ``weights_only`` torch file into `module`, strictly.

    Raises CheckpointError for a missing or damaged file, for a pickle that would run code, and for keys that are
    missing, unexpected or of another shape; the module is left as it was.
    """
    state = _read(path)
    own = module.state_dict()
    if state and not set(state) & set(own) and all(k.startswith("module.") for k in state):
        state = {k.removeprefix("module."): v for k, v in state.items()}  # DistributedDataParallel's prefix
    missing = [k for k in own if k not in state]
    unexpected = [k for k in state if k not in own]
    misshapen = [
        f"{k} {list(state[k].shape)} (module: {list(own[k].shape)})"
        for k in own
        if k in state and not is_lazy(own[k]) and state[k].shape != own[k].shape
    ]
    problems = [
        f"{label} {len(keys)}: {', '.join(keys[:5])}{', ...' if len(keys) > 5 else ''}"
        for label, keys in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
        if keys
    ]
    if problems:
        raise CheckpointError(
            f"checkpoint {path} does not fit {type(module).__name__}: {'; '.join(problems)}. "
            "Check --config, or the model this checkpoint was saved from."
        )
    tied = _tied(module)
    # assign=True shares the file's memory instead of copying it: a large model is held once, not twice.
    module.load_state_dict(state, assign=True)
    for first, others in tied:
        for name in others:
            owner, _, attribute = name.rpartition(".")
            setattr(module.get_submodule(owner), attribute, module.get_parameter(first))


def _tied(module: nn.Module) -> list[tuple[str, list[str]]]:
    """Parameters that are one under several names, which assigning to each name would part."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [(first, others) for first, *others in names.values() if others]


def _read(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise CheckpointError(f"checkpoint {path}: {irregular(path) or 'no such file'}")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (SafetensorError, OSError) as problem:
            raise CheckpointError(f"checkpoint {path} is not a whole safetensors file: {problem}") from problem
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as problem:
        first = str(problem).split("Please file", 1)[0]
        reason = next((line.strip() for line in first.splitlines() if "Unsupported" in line or "GLOBAL" in line), "")
        raise CheckpointError(
            f"checkpoint {path} holds more than tensors, and loading it could run code, so it was not loaded"
            f"{' (' + reason[:160] + ')' if reason else ''}. Save the weights alone: "
            "safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"
        ) from problem
    except (RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as problem:
        raise CheckpointError(f"checkpoint {path} can't be read: {str(problem).splitlines()[0][:200]}") from problem
    for key in _NESTED:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        held = ", ".join(map(str, list(loaded)[:5])) if isinstance(loaded, Mapping) else type(loaded).__name__
        raise CheckpointError(
            f"checkpoint {path} holds no state_dict (found: {held}); "
            f"expected name -> tensor, or that under one of {', '.join(_NESTED)}"
        )
    return dict(loaded)


def refuse_nan(module: nn.Module, origin: str) -> None:
    """CheckpointError when a weight is NaN: such a model answers NaN everywhere and any comparison would pass."""
    bad: list[str] = []
    for name, tensor in _tensors(module):
        # The sum is one fast pass and not finite where any element isn't; only then are they counted.
        if not tensor.is_floating_point() or torch.isfinite(tensor.sum()):
            continue
        if count := int(torch.isnan(tensor).sum()):
            bad.append(f"{name} ({count} of {tensor.numel()})")
    if bad:
        raise CheckpointError(
            f"{origin} has NaN in {len(bad)} tensor{'s' if len(bad) > 1 else ''}: {', '.join(bad[:5])}"
            f"{', ...' if len(bad) > 5 else ''}. The training diverged or the file is damaged; use an earlier checkpoint."
        )


def silent_gates(module: nn.Module) -> list[str]:
    """Scalar parameters that are exactly 0: what they scale takes no part, so parity proves nothing about it."""
    return [name for name, p in module.named_parameters() if not is_lazy(p) and p.numel() == 1 and not p.any()]


def _tensors(module: nn.Module) -> list[tuple[str, Any]]:
    # Of nn.LazyLinear's there is nothing to look at yet; the reference refuses them.
    return [(n, t) for n, t in [*module.named_parameters(), *module.named_buffers()] if not is_lazy(t)]
