"""Finds the reference models by file: any module in zoo/ with a line that starts with `MODEL =` is one."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from attn_runtime.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from .spec import ModelSpec

ZOO = Path(__file__).with_name("zoo")
_DECLARES_MODEL = re.compile(r"^MODEL\b.*=", re.MULTILINE)


def names() -> list[str]:
    """Names of the models, found in the text of the files: importing them would import torch."""
    return sorted(f.stem for f in ZOO.glob("*.py") if _DECLARES_MODEL.search(f.read_text(encoding="utf-8")))


def get(name: str) -> ModelSpec:
    """The ModelSpec called `name`; UsageError with the nearest name when there is none."""
    known = names()
    if name not in known:
        raise UsageError(f'unknown model "{name}"; {did_you_mean(name, known)}available: {", ".join(known)}')
    spec: ModelSpec = importlib.import_module(f"attn_models.zoo.{name}").MODEL
    return spec
