"""--with-attention: the weights of chosen attention as further outputs of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .add import add_attention, signature_for

__all__ = ["add_attention", "signature_for"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "add": ["add_attention", "signature_for"],
    },
)
