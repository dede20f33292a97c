"""Write a deployed folder, or a .tar.gz of it, all or nothing."""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import tarfile
import zlib
from pathlib import Path
from types import TracebackType

from attn_runtime.bundle import sha256_of
from attn_runtime.errors import OutputError
from attn_runtime.files import Staging, folder_problem, irregular, is_folder, not_written, recover, resolved, too_long

_ARCHIVE = ".tar.gz"
#: The disk's or the process's own limits, whatever file they hit.
_DISK = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO)


class DeployFolder:
    """Makes `target` in a hidden sibling and puts it in place at `commit`; leaving the block without leaves nothing behind.

    `mark` is the file by which a folder that may be replaced is known. Raises OutputError.
    """

    def __init__(self, target: Path, mark: str, force: bool = False) -> None:
        # A link is what it leads to, and . has a name.
        self._target, self._mark, self._force = Path(os.path.realpath(target)), mark, force
        self._archive = self._target.name.endswith(_ARCHIVE)

    def __enter__(self) -> DeployFolder:
        try:
            self._check()
            self._staging = Staging(self._target)
            name = self._target.name.removesuffix(_ARCHIVE) if self._archive else self._target.name
            parent = self._staging.folder / "made" if self._archive else self._staging.new
            self.path = parent / name
            self.path.mkdir(parents=True)
        except OSError as error:
            raise not_written(self._target, error) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        made_in = self._staging.folder
        self._staging.discard()
        # Another file's trouble, one of the bundle's say, is not about this output.
        names = (name for name in (error.filename, error.filename2) if name) if isinstance(error, OSError) else ()
        if isinstance(error, OSError) and (error.errno in _DISK or any(_is_in(made_in, name) for name in names)):
            raise not_written(self._target, error) from error

    def add(self, relative: str, data: bytes) -> None:
        place = self.place(relative)
        place.write_bytes(data)

    def add_text(self, relative: str, text: str, executable: bool = False) -> None:
        self.add(relative, text.encode())
        if executable:
            (self.path / relative).chmod(0o700)  # and for whom else, the umask says when it is put in place

    def add_file(self, relative: str, source: Path) -> None:
        """A copy of `source`, what a link leads to; a hard link would let the one change with the other."""
        shutil.copyfile(source, self.place(relative))

    def place(self, relative: str) -> Path:
        """Where to write `relative`; its folder is made."""
        place = self.path / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def hashes(self, leave_out: str) -> dict[str, str]:
        """path -> sha256 of every file but those in the folder `leave_out`."""
        found = (path.relative_to(self.path).as_posix() for path in sorted(self.path.rglob("*")) if path.is_file())
        return {name: sha256_of(self.path / name) for name in found if name.partition("/")[0] != leave_out}

    def commit(self) -> tuple[int, int]:
        """Put it in place; (files, bytes) of what was made."""
        files = [path for path in sorted(self.path.rglob("*")) if path.is_file()]
        size = sum(path.stat().st_size for path in files)
        if self._archive:
            self._pack(self._staging.new / self._target.name)
            size = (self._staging.new / self._target.name).stat().st_size
        self._staging.publish(executables=True)
        return len(files), size

    def _pack(self, archive: Path) -> None:
        """The same folder gives the same bytes: no times, no users."""

        def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
            entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
            entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
            return entry

        with (
            archive.open("wb") as raw,
            gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
            tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            tar.add(self.path, self.path.name, filter=plain)

    def _check(self) -> None:
        target = self._target
        parent = resolved(target.parent)  # OSError for a loop of links
        if problem := folder_problem(parent):
            raise OutputError(f"output {target}: {problem}; create it or choose another")
        if Path.cwd().is_relative_to(target):
            raise OutputError(
                f"output {target}: is or holds the current folder, and is replaced as a whole; choose another"
            )
        if target.name == _ARCHIVE:
            raise OutputError(f"output {target}: has no name before {_ARCHIVE}; name it NAME{_ARCHIVE}")
        if problem := too_long(target):
            raise OutputError(f"output {target}: {problem}; choose a shorter one")
        if not is_folder(target) and (problem := irregular(target)):
            raise OutputError(f"output {target}: {problem}; choose another name")
        recover(target)
        if not os.path.lexists(target) or self._force:  # a loop of links is something, too
            return
        way_out = "choose another name, or replace it with --force"
        if self._archive and not target.is_file():
            raise OutputError(f"output {target}: is not a file; {way_out}")
        if not self._archive and not target.is_dir():
            raise OutputError(
                f"output {target}: exists and is no folder; {way_out} (an archive is called NAME{_ARCHIVE})"
            )
        made_here = (
            self._made_archive() if self._archive else (target / self._mark).is_file() or not any(target.iterdir())
        )
        if not made_here:
            raise OutputError(f"output {target}: exists and was not made by this command; {way_out}")

    def _made_archive(self) -> bool:
        """Whether the archive that is there holds the mark, in its one folder."""
        try:
            with tarfile.open(self._target) as tar:
                return any(entry.name.partition("/")[2] == self._mark for entry in tar)
        except (tarfile.TarError, EOFError, zlib.error, OSError):
            return False


def _is_in(folder: Path, name: object) -> bool:
    return isinstance(name, (str, os.PathLike)) and Path(name).is_relative_to(folder)
