"""tokenizer.json and text.json of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attn_runtime.spec import TensorSpec

from .. import SavedModel


def text_assets(saved: SavedModel, inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """Nothing: a folder without a tokenizer."""
    return {}
