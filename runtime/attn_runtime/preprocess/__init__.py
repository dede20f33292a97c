"""From a picture, a recording or a text to the tensors that a model takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .audio import Waveform, centred, load_audio, load_whole
    from .image import load_image, load_picture, prepare
    from .image_fit import frame_of
    from .kinds import kind_of
    from .resampling import resample
    from .text import Encoded, Text, open_text, read_lines
    from .text_stream import TextStream
    from .token_text import CtcText, TokenText
    from .tokenizer_file import refused_by_tokenizers

__all__ = [
    "CtcText",
    "Encoded",
    "Text",
    "TextStream",
    "TokenText",
    "Waveform",
    "centred",
    "frame_of",
    "kind_of",
    "load_audio",
    "load_image",
    "load_picture",
    "load_whole",
    "open_text",
    "prepare",
    "read_lines",
    "refused_by_tokenizers",
    "resample",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "audio": ["Waveform", "centred", "load_audio", "load_whole"],
        "image": ["load_image", "load_picture", "prepare"],
        "image_fit": ["frame_of"],
        "kinds": ["kind_of"],
        "resampling": ["resample"],
        "text": ["Encoded", "Text", "open_text", "read_lines"],
        "text_stream": ["TextStream"],
        "token_text": ["CtcText", "TokenText"],
        "tokenizer_file": ["refused_by_tokenizers"],
    },
)
