"""Who may put something in the place of a target, or change it, while other runs want the same.

`.NAME.tmp-turn` is a file that is there while a run puts its own in place, held under a lock that the kernel drops when
the process dies. Who makes the new one from the old one goes through `.NAME.tmp-change` first, since of two of these at
the same time one would have worked in vain.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .regular_file import resolved

try:
    import fcntl
except ImportError:  # Windows: nothing is swept there, and nothing else is lost
    fcntl = None  # type: ignore[assignment]

#: To put something in place takes milliseconds: who takes longer has been stopped.
_TURN_SECONDS = 30.0
_TURN, _CHANGE = "turn", "change"


class Turn:
    """Whoever has it is the only run that puts something in the place of `target`, or that changes it.

    Waits for another, `for_ever` or with TimeoutError after some time; `waits` is called once where another has it. A file
    and not the folder around it, which the user may have locked, and of which NFS has no lock to give.
    """

    def __init__(
        self,
        target: Path,
        kind: str = _TURN,
        for_ever: bool = False,
        waits: Callable[[], object] | None = None,
    ) -> None:
        self._file = target.with_name(f"{prefix(target)}{kind}")
        start = time.monotonic()
        while (held := _take(self._file)) is None:
            waited = time.monotonic() - start
            if not for_ever and waited > _TURN_SECONDS:
                raise TimeoutError(errno.ETIMEDOUT, "another process is writing it and does not end")
            if waits is not None and waited > 0.1:  # not for one that is about to end
                waits()
                waits = None
            time.sleep(0.01 if waited < 1 else 0.1)
        self._held = held

    def end(self) -> None:
        _end(self._file, self._held)
        self._held = -1


@contextmanager
def changing(target: Path, waits: Callable[[], object] | None = None) -> Iterator[None]:
    """No other run is in such a block of the same target, however long it takes; `waits` is called where one is.

    For who reads the target and puts in its place what came of it. Where no file can be made beside the target there is no
    waiting either: whoever writes then tells why that can't be. A run that is killed inside keeps nobody waiting.
    """
    turn = None
    with suppress(OSError):
        turn = Turn(resolved(target), _CHANGE, True, waits)
    try:
        yield
    finally:
        if turn is not None:
            turn.end()


def turn_files(target: Path) -> list[Path]:
    """The files of all kinds of turns of `target`."""
    return [target.with_name(f"{prefix(target)}{kind}") for kind in (_TURN, _CHANGE)]


def sweep(target: Path) -> None:
    """Remove what killed runs left of their turns."""
    for file in turn_files(target):
        if os.path.lexists(file) and (held := _take(file)) is not None:
            _end(file, held)


def prefix(target: Path) -> str:
    """What the names of all that is made beside `target` begin with."""
    return f".{target.name}.tmp-"


def can_lock() -> bool:
    """Whether this system has such locks."""
    return fcntl is not None


def hold(descriptor: int, path: Path) -> int | None:
    """`descriptor`, locked, or -1 where there is no locking, None when a live run holds it; it is closed then."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another run may have removed it after it was opened here: then this lock is of no use.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except BlockingIOError:
        pass
    except OSError as error:
        os.close(descriptor)
        return None if error.errno == errno.ENOENT else -1  # the file system has no locks
    os.close(descriptor)
    return None


def _end(file: Path, held: int) -> None:
    if held >= 0:
        with suppress(OSError):  # another user's, left by a run that was killed
            file.unlink()
        os.close(held)


def _take(file: Path) -> int | None:
    """As `hold`, of a file that is made where it is not there."""
    if not can_lock():
        return -1
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | flags, 0o666)
    except PermissionError:  # another user's, left by a run that was killed
        try:
            descriptor = os.open(file, os.O_RDONLY | flags)
        except FileNotFoundError:
            return None
    return hold(descriptor, file)
