"""What a manifest says of a saved model: which repository and commit, which class, and the hash of every file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attn_runtime.bundle import sha256_of

from ..source.checkpoints import CheckpointFile
from .library import transformers
from .saved_model import MODEL_CARD, READ, SavedModel

_MOST = 200


def provenance_of(saved: SavedModel, architecture: str, file: CheckpointFile, licence: str | None) -> dict[str, Any]:
    """The manifest's `source.huggingface`, and the `checkpoint` and `licence` beside it.

    `files` holds the path in the folder and the sha256 of the weights and of every small file there.
    """
    whole = saved.folder.absolute()
    paths = [
        p
        for p in sorted([*whole.glob("*"), *whole.glob("*/*")])
        if p.name.endswith((*READ, MODEL_CARD)) and p.is_file()
    ]
    of_weights = file.hashes()
    hashes = {path.absolute(): sha256 for path, sha256 in of_weights.items()}
    hashes |= {path: sha256_of(path) for path in paths[:_MOST] if path not in hashes}
    told: dict[str, Any] = {
        "repository": saved.repository,
        "commit": saved.commit,
        "architecture": architecture,
        "model_type": str(saved.config.model_type),
        "transformers": transformers().__version__,
        "files": [{"file": _inside(path, whole), "sha256": sha256} for path, sha256 in hashes.items()],
    }
    found = {"huggingface": told, "checkpoint": {"file": file.path.name, "sha256": file.sha256_by(of_weights)}}
    return found | ({"licence": licence} if licence else {})


def _inside(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.name
