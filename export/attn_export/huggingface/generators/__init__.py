"""Any model of transformers that generates from a cache of keys and values, by one path: what it wants is asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .spec import generator_spec

__all__ = ["generator_spec"]

__getattr__, __dir__ = lazy(__name__, __all__, {"spec": ["generator_spec"]})
