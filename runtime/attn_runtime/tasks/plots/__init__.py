"""Pictures of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .attention import plot_attention
    from .bench import plot_bench

__all__ = ["plot_attention", "plot_bench"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "attention": ["plot_attention"],
        "bench": ["plot_bench"],
    },
)
