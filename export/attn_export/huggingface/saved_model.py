"""A folder that save_pretrained made, as it lies on the disk: its settings, and its JSON files read strictly."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from attn_runtime.errors import BundleError, UsageError
from attn_runtime.escape import printable
from attn_runtime.files import is_file, once_each, read_limited, shown

#: tokenizer.json of a large vocabulary has 35 MB; nobody's is larger than this.
MAX_BYTES = 128 * 2**20
#: What an export reads of a folder besides weights and model card, by how the names end; code is never read.
READ = (".json", ".txt", ".model", ".spm", ".jinja")
MODEL_CARD = "README.md"


@dataclass(frozen=True)
class SavedModel:
    """A model as it was saved.

    folder      what save_pretrained made, or the snapshot of a repository in the local cache
    repository  "org/name" where it was named hf:org/name
    commit      of that repository
    config      the transformers.PretrainedConfig that config.json makes
    notes       told to the user once; whoever reads the folder may append
    """

    folder: Path
    repository: str | None
    commit: str | None
    config: Any
    notes: list[str] = field(default_factory=list)

    @property
    def ref(self) -> str:
        """What it is called in messages."""
        return f"hf:{self.repository}" if self.repository else str(self.folder)

    def read_json(self, name: str) -> dict[str, Any]:
        """The object in the file `name` of the folder ("1_Pooling/config.json"), {} where the file is not there.

        Raises UsageError where it is no JSON object, and for a name that leaves the folder.
        """
        return read_object(self.folder, name)


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """As `SavedModel.read_json`, before there is one."""
    value = read_value(folder, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UsageError(
            f"{folder}: {printable(name)} is {shown(value, 40)}; expected a JSON object. Save the model again."
        )
    return value


def read_value(folder: Path, name: str) -> Any:
    """What the JSON file `name` of `folder` holds, None where it is not there.

    Numbers beyond 64 bits and infinities pass, other than in a bundle: tokenizers write 1e30 for "no limit". Raises
    UsageError for what is no JSON, says a key twice, is too large, or lies outside of the folder.
    """
    path = inside(folder, name)
    if not is_file(path):
        return None
    try:
        return json.loads(read_limited(path, str(folder), MAX_BYTES).decode("utf-8"), object_pairs_hook=once_each)
    except BundleError as problem:
        raise UsageError(str(problem).replace("re-export the bundle", "save the model again")) from problem
    except (ValueError, RecursionError) as problem:
        words = printable(str(problem) or type(problem).__name__)
        raise UsageError(
            f"{folder}: {printable(name)} can't be read as JSON ({words}); save the model again"
        ) from problem


def inside(folder: Path, name: str) -> Path:
    """The path of what is called `name` in `folder`. UsageError for a name that leaves it: files name other files."""
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or "\0" in name:
        raise UsageError(f"{folder}: it names {shown(name)}; expected a place inside the folder")
    return folder / place
