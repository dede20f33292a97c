"""Where an output goes, looked at before the work: can it be put there, and why could it not."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from ..errors import OutputError
from .regular_file import irregular, is_folder, reason, resolved
from .turns import prefix

#: Linux counts process numbers up to here.
_LARGEST_PID = 1 << 22
#: Bytes of path that are left for what is made: golden/NAME.outputs.safetensors, and the NUL at the end.
_INSIDE = 64
#: Names of what the process has open: links in a folder of the system, which must not be replaced by a file.
_OPEN_ALREADY = re.compile(r"/dev/(stdin|stdout|stderr|fd/\d+)|/proc/[^/]+/fd/\d+")


def check_file(file: Path) -> None:
    """OutputError unless a file can be put at `file`, as far as can be seen; worth calling before long work."""
    try:
        real = resolved(file)
        parent = real.parent
        problem = output_problem(file) or folder_problem(parent)
        if not problem and not os.access(parent, os.W_OK | os.X_OK):
            problem = f"folder {parent} is not writable"
        problem = problem or too_long(real)
    except (OSError, ValueError) as error:
        problem = reason(error)
    if problem:
        raise OutputError(f"can't write {file}: {problem}; choose another")


def output_problem(path: str | os.PathLike[str]) -> str:
    """Why a file can't be put in the place of what is at `path`, for a message; "" where it can, or nothing is there."""
    if _OPEN_ALREADY.fullmatch(os.fspath(path)):
        return "stands for what is open already, expected the name of a file"
    return "is a folder" if is_folder(path) else irregular(path)


def folder_problem(folder: Path) -> str:
    """Why nothing can be put into `folder`, which has no links in it, for a message; "" where it is one. Raises OSError where
    that can't be seen."""
    if folder.is_dir():
        return ""
    return f"folder {folder} {'is not a folder' if folder.exists() else 'does not exist'}"


def not_written(target: Path, error: OSError) -> OutputError:
    """Of an output that was made beside `target` and not put in its place."""
    at = f" ({Path(error.filename).name})" if isinstance(error.filename, str) else ""
    return OutputError(f"can't write {target}: {reason(error)}{at}; what was there is unchanged; {_advice(error)}")


def _advice(error: OSError) -> str:
    if error.errno == errno.ENAMETOOLONG:
        return "choose a shorter name or path"
    if error.errno in (errno.ELOOP, errno.EINVAL):
        return "choose another name or folder"
    return "free some space or choose another folder"


def name_excess(target: Path) -> int:
    """By how many bytes the name of `target` is too long for the temporary folder that would be made beside it."""
    return max(0, len(os.fsencode(_longest(target).name)) - _limit(target, "PC_NAME_MAX", 255))


def too_long(target: Path) -> str:
    """Why the name or the path of `target` leaves no room for what is made beside it, for a message; "" where it does."""
    if excess := name_excess(target):
        length = len(os.fsencode(target.name))
        return (
            f"the name of {length} bytes is too long; {length - excess} leave room for the name of a temporary folder "
            "beside it"
        )
    made = len(os.fsencode(_longest(target) / "new" / target.name)) + _INSIDE
    if excess := max(0, made - _limit(target, "PC_PATH_MAX", 4096)):
        length = len(os.fsencode(target))
        return (
            f"the path of {length} bytes is too long; {length - excess} leave room for a temporary folder and its files"
        )
    return ""


def _longest(target: Path) -> Path:
    return target.with_name(f"{prefix(target)}{_LARGEST_PID}-{'0' * 8}")


def _limit(target: Path, name: str, usual: int) -> int:
    try:
        return os.pathconf(target.parent, name)
    except (AttributeError, OSError, ValueError):  # Windows; a file system that doesn't tell
        return usual
