"""What the readers of this room want of a saved model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from attn_runtime.escape import printable


class SavedFolder(Protocol):
    """A folder that save_pretrained made: its settings, its JSON files, and what is to be told to the user."""

    @property
    def folder(self) -> Path: ...

    @property
    def config(self) -> Any: ...

    @property
    def notes(self) -> list[str]: ...

    def read_json(self, name: str) -> dict[str, Any]: ...


def named(saved: SavedFolder) -> str:
    """What messages call the folder."""
    return f"folder {printable(saved.folder.name or str(saved.folder), 80)}"
