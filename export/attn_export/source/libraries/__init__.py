"""Models of other libraries as sources: saved by them, or known to them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .huggingface_models import load_huggingface

__all__ = ["load_huggingface"]

__getattr__, __dir__ = lazy(__name__, __all__, {"huggingface_models": ["load_huggingface"]})
