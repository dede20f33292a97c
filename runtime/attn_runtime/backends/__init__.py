"""The backends, by name. Each file here is one: its name is the file's name, and putting it here is registering it.

What a file must hold is `attn_runtime.interface.Backend`.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import cast

from ..errors import UsageError, did_you_mean
from ..interface import Backend

__all__ = ["computes", "get", "names", "ort"]


def names() -> list[str]:
    """Every backend, by name, without importing any of them."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__))


def get(name: str) -> Backend:
    """The backend called `name`; UsageError with the nearest name when there is none."""
    loaded = sys.modules.get(f"{__name__}.{name}")
    if loaded is None and name not in names():
        raise UsageError(
            f'unknown backend "{name}"; {did_you_mean(name, names())}available: {", ".join(names())}, '
            f"or none to have one chosen"
        )
    return cast(Backend, loaded or importlib.import_module(f"{__name__}.{name}"))


def computes(name: str) -> bool:
    """Whether the backend answers inputs that it has never seen."""
    return bool(getattr(get(name), "COMPUTES", True))
