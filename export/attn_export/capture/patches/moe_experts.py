"""moe-experts: Hugging Face mixture-of-experts layers run as batched matrix products while captured.

Their default, a grouped matrix product, has no ONNX translation, and the plain loop over experts branches on data.
"batched_mm" computes the same sums in another order: it gathers the weights of each token's experts, so the exported
graph needs memory for tokens * experts per token * weights of one expert.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ._patch import Effect, Patch, counted

_WANTED = "batched_mm"
_FIELD = "_experts_implementation"


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    layers = [m for m in module.modules() if _chooses_experts(m) and getattr(m.config, _FIELD) != _WANTED]
    # Layers share a config, and a config may have sub-configs: each object that a layer reads is changed by itself,
    # in the field behind the property, because the property's setter would change its sub-configs too.
    configs: list[Any] = list({id(m.config): m.config for m in layers}.values())
    fields = [next(f for f in (f"{_FIELD}_internal", _FIELD) if f in vars(c)) for c in configs]
    before = [vars(config)[field] for config, field in zip(configs, fields, strict=True)]
    try:
        for config, field in zip(configs, fields, strict=True):
            setattr(config, field, _WANTED)
        was = ", ".join(dict.fromkeys(str(b) for b in before))
        yield (
            lambda: f'ran {counted(len(layers), "expert layer")} as "{_WANTED}" instead of "{was}"' if layers else None
        )
    finally:
        for config, field, value in zip(configs, fields, before, strict=True):
            setattr(config, field, value)


def _chooses_experts(module: torch.nn.Module) -> bool:
    """Whether transformers' use_experts_implementation decorates the class: it reads the config at every call."""
    return hasattr(type(module), "_apply_gate") and hasattr(getattr(module, "config", None), _FIELD)


PATCH = Patch("moe-experts", _enter)
