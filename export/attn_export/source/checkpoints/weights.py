"""What is looked at in the weights that a module has, wherever they came from."""

from __future__ import annotations

from typing import Any

import torch
from attn_runtime.errors import CheckpointError
from torch import nn
from torch.nn.parameter import is_lazy


def refuse_nan(module: nn.Module, origin: str) -> None:
    """CheckpointError when a weight is NaN: such a model answers NaN everywhere and any comparison would pass."""
    bad: list[str] = []
    for name, stored in _tensors(module):
        tensor = (
            stored.float() if stored.is_floating_point() and stored.dtype.itemsize < 2 else stored
        )  # float8 has no sum
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
