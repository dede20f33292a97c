"""Pictures and recordings: files of a folder, or what a column of a table holds or names."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ....errors import InputError
from ....files import MAX_STREAM_BYTES, open_regular, reason
from .columns import Layout, Need
from .parts import Done, Part, Place, cut
from .tables import FILE, table_of

#: What files of them are called, by what a task needs.
SUFFIXES = {
    "picture": (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"),
    "recording": (".wav",),
}


def is_media(path: str | os.PathLike[str], need: Need | None) -> bool:
    """Whether it is called as a picture or a recording is, whichever is needed."""
    return need is not None and os.fspath(path).lower().endswith(SUFFIXES[need.name])


def files_of(folder: Path, need: Need) -> list[str]:
    """All of them below a folder, by name; hidden ones are left out. Raises OSError."""

    def stop(error: OSError) -> None:
        raise error

    found = []
    for root, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        base = os.path.relpath(root, folder)
        found += [
            name if base == "." else f"{base}/{name}" for name in names if is_media(name, need) and name[0] != "."
        ]
    return sorted(found)


def mark_of(base: Path | None, files: Sequence[str]) -> str:
    """A hash of names, sizes and times: another one when a file was added, left out or changed."""
    made = hashlib.sha256()
    for name in files:
        try:
            told = (base / name if base else Path(name)).stat()
            made.update(f"{name}\0{told.st_size}\0{told.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        except OSError:
            made.update(f"{name}\0gone\n".encode("utf-8", "surrogateescape"))
    return made.hexdigest()


def read_media(
    number: int, base: Path | None, files: Sequence[str], layout: Layout, done: Done, most: int
) -> Iterator[Part]:
    """A row for each file. One that can't be read is a row with an error."""
    need = layout.file
    assert need is not None, "who made a source of files needs them"
    for first, held, last in cut(files, done, most):
        table = table_of(
            held,
            lambda name, _: content_of(name, base or Path(), need),
            lambda name, column: name if column == FILE else None,
            layout,
        )
        yield Part(Place(number, first, first + len(held), last), table, len(files))


def content_of(value: Any, folder: Path, need: Need) -> dict[str, Any]:
    """A path (relative to `folder`), bytes, or both as Hugging Face's datasets have them. InputError where it can't be read."""
    path = None
    if isinstance(value, dict) and set(value) & {"bytes", "path"}:
        path, value = value.get("path"), value.get("bytes") or value.get("path")
    if isinstance(value, bytes):
        return {FILE: path if isinstance(path, str) else None, "content": value}
    if not isinstance(value, str) or not value:
        raise InputError(
            f"{need.name} is {'null' if value is None else type(value).__name__}, expected a path or bytes"
        )
    try:
        with open_regular(folder / value) as file:
            content = file.read(MAX_STREAM_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"{need.name} {value}: can't be read: {reason(error)}") from None
    if len(content) > MAX_STREAM_BYTES:
        raise InputError(f"{need.name} {value}: more than {MAX_STREAM_BYTES} bytes")
    return {FILE: value.encode("utf-8", "replace").decode(), "content": content}
