"""A model that was loaded from what others made, with all that an export needs to know of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attn_models.spec import ModelSpec
    from torch import nn


@dataclass(frozen=True)
class LoadedModel:
    """`module` in eval mode and float32; `spec` says what is exported of it, and its `build` returns that module.

    `provenance` goes into the manifest's `source` beside its kind, `notes` are told to the user once.
    """

    name: str
    module: nn.Module
    spec: ModelSpec
    provenance: dict[str, Any]
    notes: list[str] = field(default_factory=list)
