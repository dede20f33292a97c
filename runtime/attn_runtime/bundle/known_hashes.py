"""The hashes of a bundle's files as they were when this user last read them, so that gigabytes are not read to open it again.

A file counts as known while it has the device, inode, size, time of content and time of change that it had then: nobody but
who sets the clock, or writes to the disk past its file system, changes its bytes and keeps all of these. What is remembered
lies in a folder of the user's own, and is believed only where nobody else can have written it:

    $XDG_CACHE_HOME/attn-runtime/known/DEVICE-INODE.json    of the bundle's folder; in ~/.cache without that variable

The C++ library (runtime/cpp/src/bundle/known_hashes.cpp) reads and writes the same files. With `ATTN_PARANOID=1` nothing is
believed and nothing written.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from ..files import is_own, open_regular, own_cache_folder

VARIABLE = "ATTN_PARANOID"
_FORMAT = 1
_CHUNK_BYTES = 2**20
_MOST_BYTES = 1 << 20
#: Of bundles: the ones written first go first.
_MOST_FILES = 256
#: What changed so lately may change once more and bear the same time: some file systems count in steps of two seconds.
_YOUNG_NS = 2_000_000_000

#: Device, inode, size, time of the content, time of change; times in nanoseconds.
Mark = tuple[int, int, int, int, int]
#: Begins the name of who has found the manifest to be valid, and of which version; its mark is the manifest's. No path begins so.
CHECKED = "/checked by "
#: By path in the bundle.
Known = dict[str, tuple[Mark, str]]


def paranoid() -> bool:
    """Whether the environment asks that nothing be believed."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")


def recall(folder: Path) -> Known:
    """Mark and sha256 of the files in the bundle at `folder`, as they were when they were last read.

    Never raises: what is missing, damaged, of another form or could be somebody else's counts as nothing.
    """
    with (
        suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError),
        own_cache_folder("known") as own,
    ):
        descriptor = os.open(_name(folder), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=own)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or not is_own(found):
                return {}
            content = json.loads(opened.read(_MOST_BYTES))
        if content["format"] != _FORMAT:
            return {}
        return {name: (_mark(told[:-1]), str(told[-1])) for name, told in content["files"].items()}
    return {}


def remember(folder: Path, known: Mapping[str, tuple[Mark, str]]) -> None:
    """Write these down. Never raises: where that can't be done, the files are read again next time."""
    content = {"format": _FORMAT, "files": {name: [*mark, sha256] for name, (mark, sha256) in known.items()}}
    with suppress(OSError, AttributeError), own_cache_folder("known", make=True) as own:
        new = f".{os.getpid()}-{os.urandom(6).hex()}"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=own)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(json.dumps(content).encode())
            os.rename(new, _name(folder), src_dir_fd=own, dst_dir_fd=own)
        except BaseException:
            os.unlink(new, dir_fd=own)
            raise
        _sweep(own)


def hashes_agree(folder: Path, files: Mapping[str, tuple[Mark, str]], *, believe: bool = True) -> bool:
    """Whether the files in `folder` have these hashes. Those that are known, with these marks, are not read, but where that is
    not to be believed. Raises OSError."""
    believe = believe and not paranoid()
    began, known = time.time_ns(), recall(folder) if believe else {}
    unknown = [name for name, told in files.items() if known.get(name) != told]
    if not all(sha256_of(folder / name) == files[name][1] for name in unknown):
        return False
    if unknown and believe and (settled := {n: t for n, t in files.items() if settled_before(t[0], began)}):
        remember(folder, settled)
    return True


def sha256_of(path: Path) -> str:
    """The lower-case hexadecimal sha256 of a file, read in chunks. Raises OSError, for what is no file too."""
    import hashlib  # OpenSSL with it, which who hashes nothing does without

    digest = hashlib.sha256()
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    with open_regular(path) as f:
        while count := f.readinto(buffer):
            digest.update(buffer[:count])
    return digest.hexdigest()


def settled_before(mark: Mark, time_ns: int) -> bool:
    """Whether any change after `time_ns`, the time since the epoch, would show in the mark."""
    return mark[-1] < time_ns - _YOUNG_NS


def _mark(told: list[int]) -> Mark:
    device, inode, size, content_ns, changed_ns = map(int, told)
    return device, inode, size, content_ns, changed_ns


def _name(folder: Path) -> str:
    found = folder.stat()
    return f"{found.st_dev:x}-{found.st_ino:x}.json"


def _sweep(own: int) -> None:
    names = os.listdir(own)
    if len(names) <= _MOST_FILES:
        return
    by_age = sorted(names, key=lambda name: os.stat(name, dir_fd=own, follow_symlinks=False).st_mtime_ns)
    for name in by_age[: len(names) - _MOST_FILES]:
        os.unlink(name, dir_fd=own)
