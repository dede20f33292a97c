"""A model's folder in a Triton repository, written all or nothing beside the models of others.

REPOSITORY/NAME/config.pbtxt       and labels.txt, warmup/
REPOSITORY/NAME/VERSION/...        what the server loads; further versions stay as they are
REPOSITORY/NAME/attn-export.json   the sha256 of each file: what is not in it, or is changed, is somebody's work and kept
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attn_runtime.bundle import OpenedFiles, sha256_of
from attn_runtime.errors import BundleError, OutputError, UsageError
from attn_runtime.files import (
    Staging,
    folder_problem,
    irregular,
    not_written,
    read_json,
    reason,
    resolved,
    shown,
    too_long,
)

CONFIG = "config.pbtxt"
RECORD = "attn-export.json"


@dataclass(frozen=True)
class ModelFolder:
    """What is to be written: files by their path below the model's folder, as bytes or as a file to copy.

    source     the bundle's files: what is copied of them is of one export
    signature  what a client sees; all versions of a model must have one
    """

    name: str
    version: int
    source: OpenedFiles
    signature: Mapping[str, Any]
    files: dict[str, bytes | Path] = field(default_factory=dict)


def check_name(name: str) -> None:
    """UsageError for what can't be a folder's name and a part of a URL."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", name):
        raise UsageError(
            f"model name {shown(name)}: expected letters, digits, _, . and -, as it becomes a folder and a part of a URL; "
            "name it with --name"
        )


def write_model(repository: Path, model: ModelFolder, force: bool = False) -> Path:
    """Put the model's folder in its place and return it.

    Raises OutputError where that would lose what is not ours, or where the disk fails; then the repository is as it was.
    """
    check_place(repository, model.name)
    target = repository / model.name
    made = False
    try:
        if not repository.exists():
            repository.mkdir(exist_ok=True)  # by another run, meanwhile
            made = True
        # Other versions are carried over: one that another run puts there meanwhile would be lost.
        staging = Staging(target, alone=True)
        try:
            kept = {} if not os.path.lexists(target) else _what_stays(target, model, force)
            _fill(staging.new / model.name, target, model, kept)
            staging.publish()
        finally:
            staging.discard()
    except OSError as error:
        raise not_written(target, error) from error
    finally:
        if made and not any(repository.iterdir()):
            repository.rmdir()
    return target


def check_place(repository: Path, name: str) -> None:
    """OutputError unless the folder of model `name` can be made in `repository`, as far as can be seen."""
    try:
        real = resolved(repository)
        exists = real.exists()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise OutputError(f"output {repository}: {reason(error)}; choose another name or folder") from error
    if exists and not real.is_dir():
        found = irregular(real) or "is a file"
        raise OutputError(f"output {repository}: {found}, expected a folder, the model repository; choose another")
    if not exists and (problem := folder_problem(real.parent)):
        raise OutputError(f"output {repository}: {problem}; create it or choose another")
    if problem := too_long(real / name):
        raise OutputError(f"output {repository / name}: {problem}; choose a shorter one")


def _what_stays(target: Path, model: ModelFolder, force: bool) -> dict[str, str]:
    """Path -> sha256 of the files of other versions. Raises OutputError where something there is not ours to replace."""
    way_out = "choose another --name, or replace it with --force"
    if not target.is_dir():
        if problem := irregular(target):
            raise OutputError(f"output {target}: {problem}; choose another --name")
        if force:
            return {}
        raise OutputError(f"output {target}: exists and is no folder; {way_out}")
    try:
        record = read_json(target / RECORD, f"{target.name}/{RECORD}")
        listed = {str(path): str(sha256) for path, sha256 in record["files"].items()}
        signature = record["signature"]
    except (BundleError, LookupError, TypeError, AttributeError):
        if force:
            return {}
        raise OutputError(
            f"output {target}: is a model that attn-export did not write (it has no readable {RECORD}); {way_out}"
        ) from None
    stays = {path: sha256 for path, sha256 in listed.items() if _version(path) not in (None, model.version)}
    if stays and signature != model.signature:
        versions = ", ".join(sorted({path.partition("/")[0] for path in stays}))
        raise OutputError(
            f"output {target}: version {versions} there has other inputs, outputs or backend, and one {CONFIG} serves all "
            "versions; choose another --name, or remove that version"
        )
    for path in sorted(_files(target) - {RECORD}):
        of = _version(path)
        # What another version holds is never touched; of the rest each file must be as it was written.
        ours = path in listed and sha256_of(target / path) == listed[path]
        if (path in stays and not ours) or (path not in listed and of not in (None, model.version)):
            raise OutputError(
                f"output {target}: {shown(path)} was changed since it was written; move that version away"
            )
        if not ours and not force:
            what = "was changed" if path in listed else "is not attn-export's"
            raise OutputError(f"output {target}: {shown(path)} {what}; move it, or replace the model with --force")
    missing = [path for path in stays if not (target / path).is_file()]
    return {path: sha256 for path, sha256 in stays.items() if path not in missing}


def _version(path: str) -> int | None:
    """The version whose folder holds `path`, None for what belongs to the whole model."""
    first, slash, _ = path.partition("/")
    return int(first) if slash and first.isascii() and first.isdigit() else None


def _files(folder: Path) -> set[str]:
    found: set[str] = set()
    for base, folders, files in os.walk(folder):
        links = [name for name in folders if Path(base, name).is_symlink()]
        found |= {Path(base, name).relative_to(folder).as_posix() for name in [*files, *links]}
    return found


def _fill(folder: Path, old: Path, model: ModelFolder, kept: Mapping[str, str]) -> None:
    listed = dict(kept)
    for path in kept:
        _link(old / path, _place(folder, path))

    def write() -> None:
        for path, content in model.files.items():
            place = _place(folder, path)
            if isinstance(content, Path):
                shutil.copyfile(content, place)
            else:
                place.write_bytes(content)

    copied = [content for content in model.files.values() if isinstance(content, Path) and model.source.lists(content)]
    model.source.read(copied, write)
    listed |= {path: sha256_of(folder / path) for path in model.files}
    record = {"signature": model.signature, "files": dict(sorted(listed.items()))}
    _place(folder, RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _place(folder: Path, path: str) -> Path:
    place = folder / path
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _link(source: Path, place: Path) -> None:
    """The same file under the new name where the disk can do that: a version may be gigabytes."""
    try:
        place.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, place)
