"""What pictures show, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .detection import Box, Detected, Detection, boxes_of, detect, detection_assets

__all__ = ["Box", "Detected", "Detection", "boxes_of", "detect", "detection_assets"]

__getattr__, __dir__ = lazy(
    __name__, __all__, {"detection": ["Box", "Detected", "Detection", "boxes_of", "detect", "detection_assets"]}
)
