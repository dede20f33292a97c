"""RTX compiles kernels when an engine first runs, and again in every process, unless what it compiled is kept.

The file lies beside the engine (NAME.engine -> NAME.engine.kernels) or in the folder given as `cache`. It is native code
without a check of its integrity: like the engine, take it from nobody but yourself.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import OutputError
from ...files import irregular, write_file

SUFFIX = ".kernels"


class RuntimeCache:
    """`why_not_kept` tells why nothing will be kept, or was not; that is never a failure."""

    def __init__(self, engine: Path, folder: Path | None) -> None:
        self.file = (folder or engine.parent) / (engine.name + SUFFIX)
        self.why_not_kept: str | None = None
        self._last: bytes | None = None
        if not os.access(self.file.parent, os.W_OK | os.X_OK):
            self.why_not_kept = f"{self.file.parent} is not writable, so kernels are compiled again in every process"

    def load(self) -> bytes | None:
        """What an earlier process kept, None where there is nothing that can be read."""
        if irregular(self.file):
            return None
        try:
            self._last = self.file.read_bytes()
        except OSError:
            return None
        return self._last

    def save(self, content: bytes | None) -> None:
        """Keep `content`, unless it is what is there already."""
        if content is None or content == self._last or self.why_not_kept is not None:
            return
        try:
            write_file(self.file, content)
        except OutputError as error:
            self.why_not_kept = str(error)
        else:
            self._last = content
