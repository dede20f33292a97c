"""deploy.json: what a deployed folder holds, and for which board. Written where the bundle was made, read on the board."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import BundleError
from ..files import find_problem, irregular, is_file, read_json, shown

ORDER = "deploy.json"
SCHEMA_VERSION = 1

#: A name of a file or folder that every disk and shell takes.
PART = "[A-Za-z0-9_][A-Za-z0-9_.+-]*"
_PATH = {
    "type": "string",
    "minLength": 1,
    "maxLength": 512,
    "pattern": f"^{PART}(/{PART})*$",
}
_TEXT = {"type": "string", "maxLength": 512}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["schema_version", "kind", "bundle", "board", "jetpack", "precisions", "files", "notes", "made_by"],
    "properties": {
        "schema_version": {"const": SCHEMA_VERSION},
        "kind": {"const": "jetson"},
        "bundle": _PATH,
        "board": _TEXT,
        "jetpack": _TEXT,
        "precisions": {"type": "array", "minItems": 1, "maxItems": 16, "items": {**_TEXT, "minLength": 1}},
        "files": {
            "type": "object",
            "maxProperties": 4096,
            "propertyNames": _PATH,
            "additionalProperties": {"type": "string", "minLength": 64, "maxLength": 64, "pattern": "^[0-9a-f]*$"},
        },
        "notes": {"type": "array", "maxItems": 256, "items": _TEXT},
        "made_by": _TEXT,
    },
}  # fmt: skip


@dataclass(frozen=True)
class Order:
    """bundle      the bundle's folder
    board       name of a board, and the JetPack release it was made for
    precisions  to build, of the bundle's
    files       path -> sha256, of every file but this one and the bundle's, which has a manifest of its own
    notes       what was left out, and why
    """

    bundle: str
    board: str
    jetpack: str
    precisions: tuple[str, ...]
    files: Mapping[str, str]
    notes: tuple[str, ...]
    made_by: str

    def to_bytes(self) -> bytes:
        told = {"schema_version": SCHEMA_VERSION, "kind": "jetson", **asdict(self)}
        problem = find_problem(json.loads(json.dumps(told)), SCHEMA, SCHEMA)
        if problem:
            raise ValueError(f"{ORDER}: {problem}")
        return (json.dumps(told, indent=1) + "\n").encode()


def read_order(folder: Path) -> Order:
    """BundleError where `folder` is no deployed folder, or its deploy.json is damaged or of another version."""
    path = folder / ORDER
    if strange := irregular(path):
        raise BundleError(f"{path}: {strange}; deploy again")
    if not is_file(path):
        raise BundleError(f"{folder}: holds no {ORDER}; expected a folder that attn-export deploy jetson made")
    told = read_json(path, ORDER)
    version = told.get("schema_version") if isinstance(told, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        raise BundleError(
            f"{path}: schema_version is {shown(version)}, this attn-runtime knows {SCHEMA_VERSION}; deploy again"
        )
    problem = find_problem(told, SCHEMA, SCHEMA)
    if problem:
        raise BundleError(f"{path}: {problem}; deploy again")
    return Order(
        told["bundle"], told["board"], told["jetpack"], tuple(told["precisions"]), told["files"], tuple(told["notes"]),
        told["made_by"],
    )  # fmt: skip
