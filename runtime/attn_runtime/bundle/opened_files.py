"""The files of a bundle that is open: they are read as those of the export that was opened, or not at all.

A re-export puts another folder in the bundle's place, and who copies by hand rewrites files where they lie. What a file is
its hash tells, and gigabytes are not hashed at each look: a file that lies where it lay, of the size and with the times
that it had when it was known, is taken for the same one, and any other is hashed again.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from ..errors import BundleError
from ..files import MAX_ASSET_BYTES, open_regular, read_json, read_limited
from .known_hashes import Mark, sha256_of
from .manifest import MANIFEST

#: File systems stamp by a clock that ticks up to so slowly: what changed within a tick may have the same time twice.
_TICK_NS = 10_000_000
#: How often files may change while they are read, and turn out to be the same ones.
_PATIENCE = 20

Result = TypeVar("Result")


class ReplacedError(BundleError):
    """The bundle is not the one that was opened any more."""


class OpenedFiles:
    """What a manifest lists, in `folder`: absolute, no links in it, so that neither a chdir nor another link leads elsewhere."""

    def __init__(self, folder: Path, manifest: Mapping[str, Any], where: str) -> None:
        self.folder = folder
        self._manifest, self._where = manifest, where
        self._known: dict[str, Mark] = {}
        self._kept: dict[str, bytes] = {}

    def hash(self, relative: str, keep: bool = False) -> str:
        """The sha256 of a file as it is now, by which it is known from here on; `keep` keeps its bytes. Raises OSError."""
        before = _mark(self.folder / relative)
        if keep and 0 <= before[2] <= MAX_ASSET_BYTES:
            with open_regular(self.folder / relative) as f:
                data = f.read()
            self._kept[relative] = data
            import hashlib

            found = hashlib.sha256(data).hexdigest()
        else:
            found = sha256_of(self.folder / relative)
        self.trust(relative, before)
        return found

    def trust(self, relative: str, mark: Mark | None = None) -> None:
        """Take a file for the manifest's, unless it is so young that it may change and look the same. Raises OSError."""
        mark = mark or _mark(self.folder / relative)
        if _settled([mark]):
            self._known[relative] = mark

    def json_bytes(self, relative: str) -> bytes:
        """The content of a small file, as it was when the bundle was opened. Raises BundleError."""
        if relative not in self._kept:
            data = self.read([relative], lambda: read_limited(self.folder / relative, self._where, MAX_ASSET_BYTES))
            self._kept[relative] = data
        return self._kept[relative]

    def lists(self, path: Path) -> bool:
        """Whether `path` is one of the files that `read` can hold to the export."""
        return path.is_relative_to(self.folder) and (
            path.relative_to(self.folder).as_posix() in (MANIFEST, *self._manifest["files"])
        )

    def replaced(self) -> ReplacedError:
        """The error that says so."""
        return ReplacedError(f"{self._where}: was replaced since it was opened; open it again")

    def read(self, files: Iterable[str | Path], action: Callable[[], Result]) -> Result:
        """What `action` returns, which reads these files: paths in the manifest, below the folder, or the manifest's own.

        `action` is called again where something changed meanwhile and the files are still the same. Raises what it raises,
        and BundleError where they are another export's.
        """
        names = [f.relative_to(self.folder).as_posix() if isinstance(f, Path) else f for f in files]
        for _ in range(_PATIENCE):
            before = self._checked(names)
            try:
                result = action()
            except Exception:
                if self._marks(names) == before:
                    raise
                continue  # it may have read half of one export and half of the next
            if self._marks(names) == before:
                return result
        raise self.replaced()

    def _checked(self, names: list[str]) -> dict[Path, Mark]:
        """The marks under which all of `names` are the manifest's."""
        for _ in range(_PATIENCE):
            marks = self._marks(names)
            if marks is None:
                raise self.replaced()
            if not _settled(marks.values()):  # or two renames within a tick would go unnoticed
                time.sleep(_TICK_NS / 1e9)
            others = [name for name in names if self._known.get(name) != marks[self.folder / name]]
            if not all(self._is_listed(name, marks[self.folder / name]) for name in others):
                raise self.replaced()
            if self._marks(names) == marks:
                self._known.update({name: marks[self.folder / name] for name in others})
                return marks
        raise self.replaced()

    def _marks(self, names: list[str]) -> dict[Path, Mark] | None:
        """Of the files, and of the folders down to them; None where one is not there."""
        try:
            paths = {path for name in names for path in _down_to(self.folder, name)}
            return {path: _mark(path) for path in sorted(paths)}
        except OSError:
            return None

    def _is_listed(self, name: str, mark: Mark) -> bool:
        try:
            if name == MANIFEST:
                return bool(read_json(self.folder / name, self._where) == self._manifest)
            listed = self._manifest["files"][name]
            # The size first: it is known, and something that is no file could not be read to its end.
            return bool(mark[2] == listed["size"] and sha256_of(self.folder / name) == listed["sha256"])
        except (OSError, BundleError):
            return False


def _down_to(folder: Path, name: str) -> list[Path]:
    parts = name.split("/")
    return [folder, *(folder.joinpath(*parts[:count]) for count in range(1, len(parts) + 1))]


def _mark(path: Path) -> Mark:
    return mark_of(path.stat())


def mark_of(found: os.stat_result) -> Mark:
    """Device, inode, size and time of the content (of a folder neither), time of change, which a rename sets, too."""
    size = found.st_size if stat.S_ISREG(found.st_mode) else -1
    # The size of a folder and the time of its content change with every engine that is built.
    content = found.st_mtime_ns if size >= 0 else 0
    return found.st_dev, found.st_ino, size, content, found.st_ctime_ns


def _settled(marks: Iterable[Mark]) -> bool:
    return all(mark[-1] < time.time_ns() - _TICK_NS for mark in marks)
