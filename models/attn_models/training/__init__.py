"""The training of the reference models, on one process or several."""

from __future__ import annotations

__all__ = ["loop", "malloc"]
