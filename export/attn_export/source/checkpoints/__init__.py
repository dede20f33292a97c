"""Checkpoints as training leaves them: found, read without running code, matched by name, loaded in the module's dtypes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attn_runtime.lazy import lazy

if TYPE_CHECKING:
    from .choose import SCALES
    from .files import CheckpointFile, read_checkpoint
    from .load import Loaded, load_checkpoint
    from .weights import refuse_nan, silent_gates

__all__ = ["SCALES", "CheckpointFile", "Loaded", "load_checkpoint", "read_checkpoint", "refuse_nan", "silent_gates"]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "choose": ["SCALES"],
        "files": ["CheckpointFile", "read_checkpoint"],
        "load": ["Loaded", "load_checkpoint"],
        "weights": ["refuse_nan", "silent_gates"],
    },
)
