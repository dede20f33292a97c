"""What constructs mean that no exporter takes, in operators that they do: attention by index, decompositions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .by_index import all_indices
    from .decomposition_table import decompositions

__all__ = ["all_indices", "decompositions"]

__getattr__, __dir__ = lazy(__name__, __all__, {"by_index": ["all_indices"], "decomposition_table": ["decompositions"]})
