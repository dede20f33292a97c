"""What two bundles, or two precisions of one, differ in: what is written of them, their graphs, and their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .bundle_difference import BundleDifference
    from .bundles import diff

__all__ = ["BundleDifference", "diff"]

__getattr__, __dir__ = lazy(__name__, __all__, {"bundle_difference": ["BundleDifference"], "bundles": ["diff"]})
