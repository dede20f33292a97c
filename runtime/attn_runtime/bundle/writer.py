"""Write a bundle, or a plain ONNX file with its data, all or nothing."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray

from ..errors import BundleError, OutputError
from ..files import (
    Staging,
    find_problem,
    folder_problem,
    irregular,
    not_utf8,
    not_written,
    output_problem,
    read_json,
    reason,
    recover,
    resolved,
    shown,
    too_long,
)
from .known_hashes import sha256_of
from .manifest import MANIFEST, SCHEMA_VERSION, schema
from .reader import Bundle, is_bundle
from .tensor_files import write_tensors

#: The folder of a bundle's engines: derived, not listed in the manifest.
ENGINES = "engines"

#: The disk's or the process's own limits, whatever file they hit.
_DISK_ERRORS = frozenset([errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EROFS, errno.EIO])


def check_target(path: str | os.PathLike[str], force: bool = False) -> None:
    """Raise OutputError unless NAME.attn or NAME.onnx can be written at `path`; worth calling before a long export.

    An existing bundle may be replaced, and so may an ONNX file. Anything else in a bundle's place is kept unless
    `force`, and so is a bundle that holds files which no export wrote.
    """
    path = Path(path)
    if path.suffix not in (".attn", ".onnx"):
        raise OutputError(f"output {path}: got {shown(path.name)}, expected a name NAME.attn (a bundle) or NAME.onnx")
    try:
        _check_place(path, force)
    except (OSError, ValueError) as error:
        raise OutputError(f"output {path}: {reason(error)}; choose another name or folder") from error


def _check_place(path: Path, force: bool) -> None:
    real = resolved(path)
    parent = real.parent
    if problem := folder_problem(parent):
        raise OutputError(f"output {path}: {problem}; create it or choose another")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(f"output {path}: folder {parent} is not writable; choose another")
    if problem := not_utf8(real):
        raise OutputError(f"output {path}: its path {problem}, or choose another")
    if problem := too_long(real):
        raise OutputError(f"output {path}: {problem}; choose a shorter one")
    recover(real)
    if not path.exists():
        return
    if path.suffix == ".onnx":
        if problem := output_problem(path):
            raise OutputError(f"output {path}: {problem}; choose another name")
    elif not path.is_dir() and (problem := irregular(path)):
        raise OutputError(f"output {path}: {problem}; choose another name")
    elif not force:
        _check_replaceable(path)


def _check_replaceable(path: Path) -> None:
    way_out = "choose another name, or replace it with --force"
    if not path.is_dir():
        raise OutputError(f"output {path}: exists and is a file, not a bundle; {way_out}")
    try:
        manifest = read_json(path / MANIFEST, path.name) if is_bundle(path) else None
    except BundleError:
        manifest = None
    # A damaged bundle may be replaced, for that is its cure; but it must show that it once was one.
    if not isinstance(manifest, dict) or not {"schema_version", "graphs", "files"} <= manifest.keys():
        raise OutputError(f"output {path}: exists and is not a bundle; {way_out}")
    listed = manifest["files"] if isinstance(manifest["files"], dict) else {}
    for file in sorted(_files_in(path)):
        if file != MANIFEST and file not in listed and not file.startswith("engines/"):
            raise OutputError(f"output {path}: holds {shown(file)}, which is not the bundle's; move it, or {way_out}")


def _files_in(folder: Path) -> list[str]:
    found = []
    for base, folders, files in os.walk(folder):
        links = [name for name in folders if Path(base, name).is_symlink()]
        found += [Path(base, name).relative_to(folder).as_posix() for name in [*files, *links]]
    return found


def _link(source: Path, target: Path) -> None:
    """One file under two names; a copy where the file system has no hard links, or forbids this one."""
    source = source.resolve()  # a link inside the bundle would be relative to another place
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno in _DISK_ERRORS or not source.is_file():
            raise
        shutil.copy2(source, target)


def _carry_engines(source: Path, target: Path) -> None:
    for relative in _files_in(source) if source.is_dir() else ():
        if any(part.startswith(".") for part in relative.split("/")):
            continue  # of a build that is under way
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # deleted since it was listed, which is always allowed
            _link(source / relative, place)


class _Writer:
    """A staging folder whose disk errors are told as OutputError and whose target stays as it was until `_publish`."""

    def __init__(self, target: str | os.PathLike[str], force: bool = False) -> None:
        self.target = Path(target)
        self.force = force
        self._staging: Staging | None = None

    def _enter(self) -> None:
        check_target(self.target, self.force)
        try:
            # Behind a link lies the thing that the user means; the link stays.
            self._staging = Staging(resolved(self.target))
        except OSError as error:
            raise not_written(self.target, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        folder = self._staging.folder if self._staging else None
        if self._staging:
            self._staging.discard()
            self._staging = None
        if isinstance(error, OSError) and self._is_ours(error, folder):
            raise not_written(self.target, error) from error

    @staticmethod
    def _is_ours(error: OSError, folder: Path | None) -> bool:
        """Whether an OSError out of the caller's block is about this output and not about a file it read."""
        if error.errno in _DISK_ERRORS:
            return True
        if error.errno is None:  # numpy's tofile on a full disk: "4096 requested and 0 written"
            return "written" in str(error)
        return folder is not None and any(
            isinstance(name, (str, os.PathLike)) and Path(name).is_relative_to(folder)
            for name in (error.filename, error.filename2)
        )

    @property
    def _open(self) -> Staging:
        if self._staging is None:
            raise RuntimeError(f"{type(self).__name__} is used outside its with block or after commit")
        return self._staging

    def _publish(self, confirm: Callable[[], object] | None = None) -> None:
        staging = self._open
        try:
            staging.publish(confirm)
        except OSError as error:
            raise not_written(self.target, error) from error
        self._staging = None


class BundleWriter(_Writer):
    """Makes the bundle `target` (NAME.attn) in a hidden sibling and puts it in place at `commit`.

    Used as a context manager; leaving the block without `commit`, or by an exception, leaves nothing behind and
    the old bundle as it was. Raises OutputError where `check_target` does, and for a full or failing disk, also
    when the OSError comes out of the caller's own code that writes to a `path(...)`.

    With `amends`, the bundle as it was opened (and its hashes checked), the new one starts with all its files, hard
    linked where the disk can do that and copied where it can't; `path` gives a place of its own to what is written anew,
    `remove` takes a file out, and `commit` carries over the engines too: their keys tell which graph they are of.
    """

    def __init__(self, target: str | os.PathLike[str], force: bool = False, amends: Bundle | None = None) -> None:
        super().__init__(target, force)
        self._amends = amends
        self._carried: dict[str, Mapping[str, Any]] = {}

    def __enter__(self) -> BundleWriter:
        if self.target.suffix != ".attn":
            raise OutputError(f"output {self.target}: got {shown(self.target.name)}, expected a name NAME.attn")
        self._enter()
        try:
            self.folder.mkdir()
            if self._amends is not None:
                for relative, entry in self._amends.manifest["files"].items():
                    _link(self._amends.file(relative), self.path(relative))
                    self._carried[relative] = entry
        except BaseException as error:  # a stop from outside, too
            self.__exit__(type(error), error, None)
            if isinstance(error, OSError):
                raise not_written(self.target, error) from error
            raise
        return self

    @property
    def folder(self) -> Path:
        """The bundle in the making."""
        return self._open.new / self._open.target.name

    def path(self, relative: str) -> Path:
        """Where to write the file `relative` ("golden/min.inputs.safetensors"); its folder is made.

        A file carried over from an amended bundle is taken away: writing to it would write to the old bundle.
        """
        problem = find_problem(relative, schema()["$defs"]["path"], schema(), "path")
        if problem or relative == MANIFEST:
            raise OutputError(f"can't write {self.target}: {problem or f'{MANIFEST} is written by commit'}")
        path = self.folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if self._carried.pop(relative, None) is not None:
            path.unlink()
        return path

    def remove(self, relative: str) -> None:
        """Leave a file of the amended bundle out; none of that name is fine."""
        if self._carried.pop(relative, None) is not None:
            (self.folder / relative).unlink()

    def add_json(self, relative: str, value: Any, compact: bool = False) -> None:
        """Write `value` as strict JSON: ValueError for NaN and infinity. `compact` is for a large one, such as a vocabulary."""
        self._write_json(self.path(relative), value, compact)

    def add_tensors(self, relative: str, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Write numpy arrays of the manifest's dtypes as a safetensors file."""
        write_tensors(self.path(relative), tensors)

    def commit(self, manifest: Mapping[str, Any], prove: Callable[[Bundle], object] | None = None) -> Bundle:
        """Fill in `files`, check the manifest as a reader would, and replace the old bundle; returns the new one.

        `manifest` is complete but for `files` (and `schema_version`, which is filled in too). `prove` is called with the
        complete bundle before it is in its place: what it raises keeps it from getting there. Raises BundleError when no
        reader would take the manifest, OutputError when the disk fails; the old bundle is unchanged whatever is raised.
        """
        try:
            files = {relative: self._entry(relative) for relative in sorted(_files_in(self.folder))}
            self._refuse_another()
            if self._amends is not None:
                # Last, so that an engine that was built meanwhile comes along.
                _carry_engines(self._amends.folder / ENGINES, self.folder / ENGINES)
            self._write_json(
                self.folder / MANIFEST, {"schema_version": SCHEMA_VERSION} | dict(manifest) | {"files": files}
            )
        except OSError as error:
            raise not_written(self.target, error) from error
        checked = Bundle.open(self.folder, check_hashes=False)
        if prove is not None:
            prove(checked)
        self._publish(self._refuse_another)
        return Bundle(self.target, checked.manifest)

    def _refuse_another(self) -> None:
        """A bundle that somebody replaced meanwhile must not be replaced by the amended old one."""
        if self._amends and read_json(self.target / MANIFEST, self.target.name) != self._amends.manifest:
            raise OutputError(
                f"{self.target} was replaced by another run meanwhile; it is as that run left it. Try again."
            )

    def _entry(self, relative: str) -> Mapping[str, Any]:
        """Hash and size; what was carried over has those that were checked when the amended bundle was opened."""
        if relative in self._carried:
            return self._carried[relative]
        path = self.folder / relative
        return {"sha256": sha256_of(path), "size": path.stat().st_size}

    @staticmethod
    def _write_json(path: Path, value: Any, compact: bool = False) -> None:
        form: dict[str, Any] = {"separators": (",", ":"), "ensure_ascii": False} if compact else {"indent": 1}
        with path.open("w", encoding="utf-8") as f:
            json.dump(value, f, allow_nan=False, **form)
            f.write("\n")


class OnnxWriter(_Writer):
    """Makes the plain file `target` (NAME.onnx) and any data files beside it, all or nothing, as BundleWriter does.

    The block writes the graph to `path()` and its data to `path("NAME.onnx.data")`: both lie in one folder under
    their final names, so the location that the graph stores for its external data stays right.
    """

    def __enter__(self) -> OnnxWriter:
        if self.target.suffix != ".onnx":
            raise OutputError(f"output {self.target}: got {shown(self.target.name)}, expected a name NAME.onnx")
        self._enter()
        return self

    def path(self, name: str | None = None) -> Path:
        """Where to write the graph, or the file `name` that will lie beside it."""
        if name is not None and (Path(name).name != name or name in (".", "..")):
            raise OutputError(f"can't write {self.target}: {shown(name)} is no file name beside it")
        return self._open.new / (name or self._open.target.name)

    def commit(self) -> None:
        """Put the files in place, the graph last. Raises OutputError; then what was there is unchanged."""
        if not self.path().is_file():
            raise OutputError(f"can't write {self.target}: the graph was not written")
        self._publish()
