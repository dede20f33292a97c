"""Write or replace a file or folder so that a killed run leaves the old one or the new one, and no litter for long.

New content is made in a hidden sibling of the target, `.NAME.tmp-PID-RANDOM/`, held under a lock that the kernel
drops when the process dies, however it dies. The next writer of the same target finds the lock free and sweeps.

    .NAME.tmp-PID-RANDOM/new/   what will be published, under its final names
    .NAME.tmp-PID-RANDOM/old/   what it replaced, while a replacement that is not one system call is under way

Where the kernel can't exchange two names, or where several files go together (a graph and its data), there is a
moment without target; a run killed in it leaves `old/` full and the target missing, and `recover` puts it back.

Several writers of one target make theirs at the same time and put it in place one after the other: turns.

What is published has the modes that a plain `open` and `mkdir` would have given it, whoever wrote it: safetensors and
onnx write for the owner alone whatever the umask, and a copy has its source's mode.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import OutputError
from ..logs import Log
from . import turns
from .output_place import output_problem
from .regular_file import resolved
from .turns import Turn, prefix, turn_files

_log = Log(__name__)

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


class Staging:
    """A locked temporary folder beside `target`; `publish` or `discard` ends it. Everything here raises OSError.

    With `alone`, no other run puts anything in the target's place until then; TimeoutError where one does not end.
    """

    def __init__(self, target: Path, alone: bool = False) -> None:
        self.target = target
        self._locked = -1
        self._turn = Turn(target) if alone else None
        try:
            self._stage(target)
        except BaseException:
            if self._turn is not None:
                self._turn.end()
            raise

    def _stage(self, target: Path) -> None:
        recover(target)
        sweep(target)
        # A sweeper may take the folder between its making and its locking, so try again.
        for _ in range(100):
            self.folder = target.parent / f"{prefix(target)}{os.getpid()}-{os.urandom(4).hex()}"
            try:
                if self._make():
                    return
            except BaseException:  # a stop from outside, too: nobody else knows of the folder yet
                self.discard()
                raise
        raise OSError(errno.EAGAIN, "can't lock a temporary folder", str(self.folder))

    def _make(self) -> bool:
        self.folder.mkdir()
        locked = _lock(self.folder)
        if locked is None:
            return False
        self._locked = locked
        self.new.mkdir()
        (self.folder / "old").mkdir()
        return True

    @property
    def new(self) -> Path:
        """The folder whose entries `publish` moves beside the target, one of them under the target's name."""
        return self.folder / "new"

    def publish(self, confirm: Callable[[], object] | None = None, executables: bool = False) -> None:
        """Put every entry of `new` in place, on disk before it is visible; what was there before is removed.

        `confirm` is called when no other run can put anything there any more; what it raises keeps all as it was. Files get
        the mode 0666 less the umask, folders 0777 less it, and with `executables` files that their owner may execute as
        well. The umask is not asked for: that would change it for the other threads' files.
        """
        names = sorted((entry.name for entry in self.new.iterdir()), key=lambda name: (name == self.target.name, name))
        plain = self.folder / "plain"
        plain.touch()
        modes = stat.S_IMODE(plain.stat().st_mode), stat.S_IMODE(self.folder.stat().st_mode) & 0o777
        for name in names:
            for path in (self.new / name, *(self.new / name).rglob("*")):
                _set_mode(path, *modes, executables)
            _flush(self.new / name)
        if self._turn is None:
            self._turn = Turn(self.target)
        if confirm is not None:
            confirm()
        if len(names) > 1 or not self._publish_in_one_step(names[0]):
            self._publish_in_two_steps(names)
        _flush_one(self.target.parent)
        _log.info("wrote %s", self.target)
        self.discard()

    def discard(self) -> None:
        """Remove the temporary folder and all in it. Never raises: what can't be removed is swept another time."""
        if self._turn is not None:
            self._turn.end()
            self._turn = None
        _remove(self.folder)
        if self._locked >= 0:
            os.close(self._locked)
            self._locked = -1

    def _publish_in_one_step(self, name: str) -> bool:
        new, target = self.new / name, self.target.parent / name
        if not os.path.lexists(target) or not (new.is_dir() or target.is_dir()):
            new.replace(target)
            return True
        return _exchange(new, target)

    def _publish_in_two_steps(self, names: list[str]) -> None:
        # The target leaves first and comes last: in between it is missing, which anyone notices, and never an old
        # graph beside new weights, which nobody would.
        folder, old = self.target.parent, self.folder / "old"
        try:
            for name in reversed(names):
                if os.path.lexists(folder / name):
                    (folder / name).rename(old / name)
            for name in names:
                (self.new / name).rename(folder / name)
        except OSError:
            _restore(self.folder, self.target)
            raise
        # From here on a missing target is one that someone removed, and must not come back.
        old.rename(self.folder / "replaced")


def write_whole(file: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make a file at the path it is given, then put it in the place of `file`.

    Raises OutputError when that can't be done; what was at `file` is then still there.
    """
    try:
        if problem := output_problem(file):
            raise OSError(0, problem)
        resolved(file)  # a loop of links is no name of a file
        staging = Staging(file)
        try:
            write(staging.new / file.name)
            staging.publish()
        except BaseException:
            staging.discard()
            raise
    except OSError as error:
        raise OutputError(f"can't write {file}: {error.strerror or error}") from error


def write_file(file: Path, data: bytes) -> None:
    """Put `data` in the place of `file`. Raises OutputError as `write_whole` does."""

    def write(path: Path) -> None:
        path.write_bytes(data)

    write_whole(file, write)


def recover(target: Path, patience_s: float = 1.0) -> None:
    """Put the target back if a run was killed while it was set aside; waits up to `patience_s` for a live one."""
    end = time.monotonic() + patience_s
    while not os.path.lexists(target):
        busy = False
        for folder in _stagings(target):
            if not os.path.lexists(folder / "old" / target.name):
                continue
            locked = _lock(folder)
            if locked is None:
                busy = True
                continue
            try:
                if not os.path.lexists(target):
                    _restore(folder, target)
            except OSError:
                pass  # a read-only disk: the caller will say that the target is missing
            finally:
                if locked >= 0:
                    os.close(locked)
        if not busy or time.monotonic() > end:
            return
        time.sleep(0.02)


def sweep(target: Path) -> None:
    """Remove what killed runs left beside `target`; leaves the temporaries of live ones alone."""
    for folder in _stagings(target):
        locked = _lock(folder)
        if locked is None or locked < 0:
            continue
        _remove(folder)
        os.close(locked)
    turns.sweep(target)


def _stagings(target: Path) -> Iterator[Path]:
    try:
        found = sorted(target.parent.iterdir())
    except OSError:
        return
    for path in found:
        if path.name.startswith(prefix(target)) and path not in turn_files(target):
            yield path


def _restore(folder: Path, target: Path) -> None:
    for kept in sorted((folder / "old").iterdir(), key=lambda path: path.name == target.name):
        place = target.parent / kept.name
        if place.is_dir():
            place.rename(folder / f"half-published-{kept.name}")
        kept.replace(place)


def _remove(folder: Path) -> None:
    import shutil  # half of what importing this module would cost, and readers write nothing

    shutil.rmtree(folder, ignore_errors=True)


def _lock(folder: Path) -> int | None:
    """A descriptor that holds the lock of `folder`, -1 where there is no locking, None when a live run holds it."""
    if not turns.can_lock():
        return -1
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return None
    return turns.hold(descriptor, folder)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step; False where the kernel or the file system can't."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # another libc, macOS, Windows
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NO_EXCHANGE:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _set_mode(path: Path, file_mode: int, folder_mode: int, executables: bool) -> None:
    found = path.lstat()
    if stat.S_ISLNK(found.st_mode):
        return
    mode = stat.S_IMODE(found.st_mode)
    if stat.S_ISDIR(found.st_mode):
        wanted = mode & ~0o777 | folder_mode  # the group that a folder gives to what is made in it stays
    else:
        wanted = folder_mode if executables and mode & stat.S_IXUSR else file_mode
    if mode == wanted:
        return
    try:
        path.chmod(wanted)
    except OSError:
        # A hard link to a file of somebody else's; or a file system that keeps no modes.
        if hasattr(os, "geteuid") and stat.S_ISREG(found.st_mode) and found.st_uid != os.geteuid():
            copy = path.with_name(f".{os.urandom(8).hex()}")
            import shutil

            shutil.copyfile(path, copy)
            copy.replace(path)


def _flush(path: Path) -> None:
    for folder, _, files in os.walk(path):
        for name in files:
            _flush_one(Path(folder, name))
        _flush_one(Path(folder))
    if not path.is_dir():
        _flush_one(path)


def _flush_one(path: Path) -> None:
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
