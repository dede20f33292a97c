"""What is looked at in the page: inputs, pictures of arrays, and the attention viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .attention_viewer import Viewer, behind, looked_at, viewer_frame
    from .drawn_arrays import drawn, picture, pixels_of, waveform
    from .given import Given, given_inputs

__all__ = [
    "Given",
    "Viewer",
    "behind",
    "drawn",
    "given_inputs",
    "looked_at",
    "picture",
    "pixels_of",
    "viewer_frame",
    "waveform",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "attention_viewer": ["Viewer", "behind", "looked_at", "viewer_frame"],
        "drawn_arrays": ["drawn", "picture", "pixels_of", "waveform"],
        "given": ["Given", "given_inputs"],
    },
)
