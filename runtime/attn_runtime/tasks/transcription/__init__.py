"""Recordings of any length to texts, in windows that the model takes: `attn_runtime.transcribe`.

windows        where they lie, and which frames of each are kept
ctc            models that answer a token for each frame
written        models that write token by token
transcription   the public call, and what it returns
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...lazy import lazy

if TYPE_CHECKING:
    from .ctc import CtcReader
    from .transcription import Transcribed, Transcription, check_recordings, transcribe, transcribed_by
    from .written import WrittenReader

__all__ = [
    "CtcReader",
    "Transcribed",
    "Transcription",
    "WrittenReader",
    "check_recordings",
    "transcribe",
    "transcribed_by",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "ctc": ["CtcReader"],
        "transcription": ["Transcribed", "Transcription", "check_recordings", "transcribe", "transcribed_by"],
        "written": ["WrittenReader"],
    },
)
