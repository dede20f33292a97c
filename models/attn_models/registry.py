"""Finds the reference models by file: any module here that has a MODEL is one."""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches
from pathlib import Path

from attn_runtime.errors import UsageError

from .spec import ModelSpec

_NOT_MODELS = {"spec", "registry", "train", "__main__"}


def names() -> list[str]:
    """Names of the modules that may hold a model, without importing them (and so without torch)."""
    here = [str(Path(__file__).parent)]
    return sorted(m.name for m in pkgutil.iter_modules(here) if not m.ispkg and m.name not in _NOT_MODELS)


def get(name: str) -> ModelSpec:
    """The ModelSpec called `name`; UsageError with the nearest name when there is none."""
    if name not in names():
        near = get_close_matches(name, names(), 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise UsageError(f'unknown model "{name}"; {hint}available: {", ".join(names())}')
    spec = importlib.import_module(f"attn_models.{name}").MODEL
    assert isinstance(spec, ModelSpec)
    return spec
