"""What a model's feature extractor does to a recording, as layers of its graph, and the assets that go with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .feature_extractors import FrontEnd, front_end
    from .recording_assets import audio_assets

__all__ = ["FrontEnd", "audio_assets", "front_end"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {"recording_assets": ["audio_assets"], "feature_extractors": ["FrontEnd", "front_end"]},
)
