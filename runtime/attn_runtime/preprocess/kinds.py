"""What a file is: arrays, a recording or a picture. Its name tells; what has none, as a pipe, is known by its first bytes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

_RECORDINGS = (b"RIFF", b"RF64", b"BW64")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # an .npz is one; the second has no file inside


def kind_of(file: str | os.PathLike[str] | bytes) -> Literal["arrays", "recording", "picture"]:
    """Of a path or of a file's content. What is neither arrays nor a recording is for the reader of pictures to refuse."""
    if not isinstance(file, bytes):
        path = Path(file)
        if path.suffix:
            return "arrays" if path.suffix == ".npz" else "recording" if path.suffix.lower() == ".wav" else "picture"
        try:
            with path.open("rb") as opened:
                file = opened.read(12) if path.is_file() else b""
        except (OSError, ValueError):
            return "picture"  # its reader tells what is wrong with it
    if file[:4] in _RECORDINGS and file[8:12] == b"WAVE":  # WebP begins with RIFF as well
        return "recording"
    return "arrays" if file[:4] in _ZIP else "picture"
