"""Where the files of a bundle are: inside of it, links followed, and as large as its manifest says."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ..errors import BundleError
from ..files import copy_command, irregular, reason, shown
from .known_hashes import Mark
from .opened_files import mark_of


def check_folder(path: Path) -> tuple[int, int, int]:
    """What tells the folder from one that replaced it: inodes are used again, and a copy may have the time of the content, so
    its time of change too."""
    where = f"bundle {path.name}"
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        from difflib import get_close_matches

        near = get_close_matches(path.name, _bundles_beside(path), 1)
        hint = f"did you mean {near[0]}?" if near else "check the path"
        raise BundleError(f"{where}: {path} does not exist; {hint}") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{where}: can't open {path}: {reason(error)}; check the path and its permissions") from None
    if not stat.S_ISDIR(found.st_mode):
        what = irregular(path) or "is a file"
        raise BundleError(f"{where}: {path} {what}, expected a folder NAME.attn; check the path")
    return found.st_dev, found.st_ino, found.st_ctime_ns


def _bundles_beside(path: Path) -> list[str]:
    try:
        return [other.name for other in path.parent.iterdir() if other.suffix == ".attn" and other.name != path.name]
    except OSError:
        return []


def inside(root: Path, relative: str, where: str) -> Path:
    """root/relative with every link followed; BundleError where that leads out of the bundle."""
    try:
        real = (root / relative).resolve()
    except (OSError, RuntimeError):  # a loop of links; Python 3.13 no longer raises for it
        raise BundleError(f"{where}: {relative} is a loop of links; re-export the bundle") from None
    if not real.is_relative_to(root):
        raise BundleError(
            f"{where}: {relative} is a link out of the bundle, to {shown(str(real), 160)}; "
            f"if you trust it, copy the files in with {copy_command(root)} and open the copy"
        )
    return real


def check_files(root: Path, sizes: Mapping[str, int], where: str) -> dict[str, Mark]:
    """The mark of each of these files in `root`; BundleError for one that is missing, of another size, or outside."""
    marks: dict[str, Mark] = {}
    plain = {""}  # folders without a link on the way to them; one look at each file is enough then
    for relative, size in sizes.items():
        folder = relative.rpartition("/")[0]
        path = f"{root}/{relative}"
        try:
            if folder not in plain and stat.S_ISDIR(os.lstat(f"{root}/{folder}").st_mode) and "/" not in folder:
                plain.add(folder)
            found = os.lstat(path)
            if folder not in plain or stat.S_ISLNK(found.st_mode):
                found = os.stat(inside(root, relative, where))  # noqa: PTH116
        except OSError as error:
            what = "is missing" if isinstance(error, FileNotFoundError) else f"can't be read ({error.strerror})"
            raise BundleError(f"{where}: {relative} {what}; restore it or re-export the bundle") from None
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"{where}: {relative} is not a regular file; restore it or re-export the bundle")
        if found.st_size != size:
            raise BundleError(
                f"{where}: {relative} has {found.st_size} bytes, manifest says {size}; "
                "the file was changed after export; re-export or restore it"
            )
        marks[relative] = mark_of(found)
    return marks
