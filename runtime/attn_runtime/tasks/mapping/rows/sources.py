"""What is named as an input: files of rows, and folders; what each one was, so that another one is not taken for it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....errors import InputError, UsageError
from ....escape import printable
from ....files import irregular, is_file, is_folder, open_regular, reason
from .columns import Layout, Need
from .line_files import check_lines, read_lines_of
from .lines import COMPRESSED
from .media import SUFFIXES, files_of, is_media, mark_of, read_media
from .parquet import check_parquet, parquet_columns, read_parquet
from .parts import Done, Part

#: Forms of files with rows, by the end of their names.
FORMS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "txt",
    ".parquet": "parquet",
}
#: Bytes at either end of a file that are read for its mark.
_EDGE = 64 << 10
#: What files that are named one by one are called together.
_TOGETHER = "(files)"


@dataclass(frozen=True)
class Source:
    """One input. `files` are those of a folder, or of those that were named one by one; then `base` is None."""

    name: str
    form: str
    mark: dict[str, Any]
    base: str | None = None
    files: tuple[str, ...] = ()

    def read(self, number: int, layout: Layout, done: Done, most: int) -> Iterator[Part]:
        """Its rows that are not done, `most` at a time, in order. InputError for one that is damaged."""
        if self.form == "files":
            base = None if self.base is None else Path(self.base)
            return read_media(number, base, self.files, layout, done, most)
        if self.form == "parquet":
            return read_parquet(number, Path(self.name), layout, done, most)
        return read_lines_of(number, Path(self.name), self.form, layout, done, most)

    def check(self, layout: Layout) -> None:
        """Raise what `read` would for the columns that are asked for."""
        if self.form == "parquet":
            check_parquet(Path(self.name), layout)
        elif self.form != "files":
            check_lines(Path(self.name), self.form, layout)

    def kept_types(self, layout: Layout) -> dict[str, Any] | None:
        """Arrow's types of the columns to be kept; None where the file has no types."""
        if self.form != "parquet":
            return None
        schema = parquet_columns(Path(self.name))[1]
        return {kept.column: schema.field(kept.column).type for kept in layout.kept}


def find_sources(given: Sequence[str], needs: Sequence[Need]) -> list[Source]:
    """What is named, a folder's files by name. InputError for what is missing, UsageError for what is of no known form."""
    file = next((need for need in needs if need.kind == "file"), None)
    found: list[Source] = []
    together: list[str] = []
    for name in given:
        if is_folder(name):
            found += _of_folder(name, file)
        elif is_media(name, file) and not form_of(name):
            _check_there(name)
            together.append(name)
        else:
            found.append(_of_file(name, file))
    if together:
        found.append(
            Source(_TOGETHER, "files", {"files": len(together), "mark": mark_of(None, together)}, None, tuple(together))
        )
    names = [source.name for source in found]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise UsageError(f"{printable(doubled)}: is named twice; name it once")
    return found


def read_all(found: Sequence[Source], layout: Layout, dones: Sequence[Done], most: int) -> Iterator[Part]:
    """What is not done, source by source, `most` rows at a time."""
    for number, source in enumerate(found):
        if not dones[number].all:
            yield from source.read(number, layout, dones[number], most)


def form_of(name: str) -> str | None:
    """Of a file of rows, by its name; None of another."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122
    if suffix.lower() in COMPRESSED:
        suffix = os.path.splitext(stem)[1]  # noqa: PTH122
        return None if suffix.lower() == ".parquet" else FORMS.get(suffix.lower())
    return FORMS.get(suffix.lower())


def _of_file(name: str, file: Need | None) -> Source:
    _check_there(name)
    form = form_of(name)
    if form is None:
        known = [*FORMS, *(SUFFIXES[file.name] if file else ())]
        raise UsageError(
            f"{printable(name)}: is of no form that is known by its name; expected one that ends in {', '.join(known)}, or such "
            f"a table with {', '.join(COMPRESSED)} behind it"
        )
    return Source(name, form, _mark(name))


def _of_folder(name: str, file: Need | None) -> list[Source]:
    try:
        media = files_of(Path(name), file) if file else []
        tables = sorted(e.name for e in os.scandir(name) if form_of(e.name) and e.name[0] not in "._" and e.is_file())
    except OSError as error:
        raise InputError(f"{printable(name)}: can't be read: {reason(error)}") from error
    if media and tables:
        raise UsageError(
            f"{printable(name)}: holds {len(media)} {file.name if file else ''}s and {len(tables)} tables; name one or the other"
        )
    if media:
        return [Source(name, "files", {"files": len(media), "mark": mark_of(Path(name), media)}, name, tuple(media))]
    if not tables:
        wanted = f"{file.name}s or " if file else ""
        raise InputError(f"{printable(name)}: holds no {wanted}tables; expected files that end in {', '.join(FORMS)}")
    return [_of_file(os.path.join(name, table), file) for table in tables]  # noqa: PTH118


def _check_there(name: str) -> None:
    if not is_file(name):
        problem = irregular(name) or "there is no such file"
        raise InputError(f"{printable(name)}: {problem}; give a file of rows or a folder")


def _mark(name: str) -> dict[str, Any]:
    """Size, time, and a hash of both ends: what is large is not read twice."""
    try:
        with open_regular(name) as file:
            told = os.fstat(file.fileno())
            made = hashlib.sha256(file.read(_EDGE))
            file.seek(max(0, told.st_size - _EDGE))
            made.update(file.read(_EDGE))
    except OSError as error:
        raise InputError(f"{printable(name)}: can't be read: {reason(error)}") from error
    return {"size": told.st_size, "modified_ns": told.st_mtime_ns, "ends": made.hexdigest()}
