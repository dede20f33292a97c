"""One pass a file: a change to a graph whose answers stay, usable as --pass NAME."""

from __future__ import annotations

__all__ = ["_base", "attention"]
