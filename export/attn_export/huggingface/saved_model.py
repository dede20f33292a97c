"""A folder that save_pretrained made, or a snapshot of a repository in the local cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SavedModel:
    """folder, and where it was named hf:org/name its repository and commit; `notes` are told to the user once."""

    folder: Path
    repository: str | None
    commit: str | None
    config: Any
    notes: list[str] = field(default_factory=list)
