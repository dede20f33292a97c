"""The C++ runtime, as this process sees it."""

from __future__ import annotations

__all__ = ["capi"]
