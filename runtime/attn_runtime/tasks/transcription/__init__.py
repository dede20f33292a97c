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
    from .transcription import Transcribed, Transcription, transcribe

__all__ = ["Transcribed", "Transcription", "transcribe"]

__getattr__, __dir__ = lazy(__name__, __all__, {"transcription": ["Transcribed", "Transcription", "transcribe"]})
