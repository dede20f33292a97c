"""From a picture, a recording or a text to the tensors that a model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .audio import centred, load_audio
    from .image import load_image, load_picture, prepare
    from .image_fit import frame_of
    from .kinds import kind_of
    from .resampling import resample
    from .text import Encoded, Text, open_text, read_lines
    from .text_stream import TextStream

__all__ = [
    "Encoded",
    "Text",
    "TextStream",
    "centred",
    "frame_of",
    "kind_of",
    "load_audio",
    "load_image",
    "load_picture",
    "open_text",
    "prepare",
    "read_lines",
    "resample",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "audio": ["centred", "load_audio"],
        "image": ["load_image", "load_picture", "prepare"],
        "image_fit": ["frame_of"],
        "kinds": ["kind_of"],
        "resampling": ["resample"],
        "text": ["Encoded", "Text", "open_text", "read_lines"],
        "text_stream": ["TextStream"],
    },
)
