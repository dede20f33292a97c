"""computed-weights: a weight that is computed from others is computed once, and is a constant while captured.

In eval mode the weights of torch.nn.utils.parametrize (weight_norm, spectral_norm, orthogonal, a user's own), those of the
older hooks (weight_norm, spectral_norm) and pruned ones depend on nothing that goes into the model. Left in the graph they
cost nodes at every call, some have no ONNX translation (matrix_exp, householder_product), and PyTorch (2.13) decomposes
the weight norm of a weight with one axis wrongly. What they are computed from is left out of the file where nothing else
reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from ._patch import Effect, Patch, counted

#: What parametrize, prune, hooks and the setters of modules write to.
_TABLES = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set", "_forward_pre_hooks")

#: A computed weight by what it was computed from: modules that share this share the weight.
_Known = dict[tuple[int, ...], list[torch.Tensor]]


@contextmanager
def _enter(module: nn.Module) -> Iterator[Effect]:
    known: _Known = {}
    number = 0
    with ExitStack() as stack, torch.no_grad():
        for part in list(module.modules()):
            if _foldable(part):
                stack.enter_context(_restored(part))
                number += _fold_parametrized(part, known)
            if hooks := _hooks(part):
                stack.enter_context(_restored(part))
                number += _fold_hooked(part, hooks, known)
        yield lambda: f"made {counted(number, 'computed weight')} a constant" if number else None


def _foldable(part: nn.Module) -> bool:
    # A computation in training mode may change its own state at every call.
    return parametrize.is_parametrized(part) and not any(p.training for p in part.parametrizations.modules())  # type: ignore[union-attr]


def _fold_parametrized(part: nn.Module, known: _Known) -> int:
    lists = dict(part.parametrizations.items())  # type: ignore[union-attr,operator]
    values = {name: getattr(part, name) for name in lists}
    # The properties that compute are on a class of the part's own; without it a name is a plain parameter again.
    part.__class__ = parametrize.type_before_parametrizations(part)
    for name, how in lists.items():
        originals = [*how.parameters(), *how.buffers()]
        is_parameter = any(True for _ in how.parameters(recurse=False))
        _set(part, name, values[name], originals, is_parameter, known)
    return len(lists)


def _hooks(part: nn.Module) -> dict[int, Any]:
    """The part's forward_pre_hooks that set a weight, by their key."""
    return {
        key: hook
        for key, hook in part._forward_pre_hooks.items()
        if _name(hook) is not None
        and isinstance(part.__dict__.get(_name(hook) or ""), torch.Tensor)
        and not part.training
    }


def _name(hook: Any) -> str | None:
    """Which attribute the hook computes. An own hook in the manner of PyTorch's has `name` and `compute_weight(module)`."""
    if isinstance(hook, prune.BasePruningMethod):
        return hook._tensor_name
    own = callable(getattr(hook, "compute_weight", None)) and isinstance(getattr(hook, "name", None), str)
    return hook.name if own or isinstance(hook, (SpectralNorm, WeightNorm)) else None


def _fold_hooked(part: nn.Module, hooks: dict[int, Any], known: _Known) -> int:
    for hook in hooks.values():
        hook(part, ())
    names = dict.fromkeys(_name(hook) or "" for hook in hooks.values())
    for key in hooks:
        del part._forward_pre_hooks[key]
    for name in names:
        own = (*part.named_parameters(recurse=False), *part.named_buffers(recurse=False))
        originals = [t for n, t in own if n.startswith(f"{name}_")]
        _set(part, name, part.__dict__.pop(name), originals, True, known)
    return len(names)


def _set(
    part: nn.Module, name: str, value: torch.Tensor, originals: Sequence[torch.Tensor], parameter: bool, known: _Known
) -> None:
    """Register the value under the weight's name, or an equal one that was computed from the same tensors."""
    earlier = known.setdefault(tuple(id(t) for t in originals), [])
    same = next((t for t in earlier if t.dtype == value.dtype and torch.equal(t, value)), None)
    if same is None:
        value = value.detach().clone() if any(value is t for t in originals) else value.detach()
        same = nn.Parameter(value, requires_grad=False) if parameter else value
        earlier.append(same)
    if isinstance(same, nn.Parameter):
        setattr(part, name, same)  # so that an RNN's list of flat weights follows
    else:
        part.register_buffer(name, same)


@contextmanager
def _restored(part: nn.Module) -> Iterator[None]:
    """Put back class, attributes and tables of a module, in their order."""
    kind, attributes = part.__class__, dict(vars(part))
    tables = {name: attributes[name].copy() for name in _TABLES}
    flat = {name: list(attributes[name]) for name in ("_flat_weights", "_flat_weight_refs") if name in attributes}
    try:
        yield
    finally:
        part.__class__ = kind
        vars(part).clear()
        vars(part).update(attributes)
        for name, table in tables.items():
            attributes[name].clear()
            attributes[name].update(table)
        for name, values in flat.items():
            attributes[name][:] = values


PATCH = Patch("computed-weights", _enter)
