"""What constructs mean that no exporter takes, in operators that they do: attention by index, decompositions, sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .by_index import all_indices
    from .data_reads import DataReads
    from .decomposition_table import decompositions
    from .python_calls import python_sizes
    from .torch_calls import SizedCalls

__all__ = ["DataReads", "SizedCalls", "all_indices", "decompositions", "python_sizes"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "by_index": ["all_indices"],
        "data_reads": ["DataReads"],
        "decomposition_table": ["decompositions"],
        "python_calls": ["python_sizes"],
        "torch_calls": ["SizedCalls"],
    },
)
