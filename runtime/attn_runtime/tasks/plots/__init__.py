"""Pictures of results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .attention import plot_attention
    from .bench import plot_bench
    from .boxes import plot_boxes
    from .picture_file import check_plot, write_plot

__all__ = ["check_plot", "plot_attention", "plot_bench", "plot_boxes", "write_plot"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "attention": ["plot_attention"],
        "bench": ["plot_bench"],
        "boxes": ["plot_boxes"],
        "picture_file": ["check_plot", "write_plot"],
    },
)
