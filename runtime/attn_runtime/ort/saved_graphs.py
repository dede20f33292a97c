"""Graphs as ONNX Runtime optimised them, with their weights in the order that this processor multiplies in.

A session of one opens in a fraction of the time.

    CACHE/ort/KEY/model.onnx        for what is written in `key`
    CACHE/ort/KEY/model.onnx.data   its weights, as they are and as they are multiplied
    CACHE/ort/KEY/key               what both were made of and by, one thing a line, then size and sha256 of both

KEY begins the sha256 of what `key` tells of the making: the graph and its weights, ONNX Runtime's version and build, the
processor, and each option that changes what the optimiser does. Both readers, this one and the C++ library's
(runtime/cpp/src/ort/saved_graph.cpp), write the same keys. A graph that somebody else could have written, or that is not what
its key says, is made anew.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bundle import hashes_agree, mark_of, sha256_of
from ..errors import OutputError
from ..files import Staging, is_own
from ..interface import GraphFile
from ..logs import Log

_log = Log(__name__)

_FOLDER, _MODEL, _DATA, _KEY = "ort", "model.onnx", "model.onnx.data", "key"
_FORMAT = "saved graph 1"
_MOST_BYTES = 1 << 16
#: Weights below this many bytes stay in the ONNX file.
_LEAST_DATA = "1024"
#: Lines of /proc/cpuinfo, on x86-64 and on Arm.
_PROCESSOR = (
    *(b"vendor_id", b"cpu family", b"model", b"model name", b"flags"),
    *(b"CPU implementer", b"CPU architecture", b"CPU variant", b"CPU part", b"Features"),
)


class SavedGraph:
    """One graph of a bundle for one key; `find` and `write` it.

    options    those of the session, by ONNX Runtime's names, that change the graph or its weights
    providers  that the session has
    Raises OutputError where `cache` can't be made, or somebody else could write to it.
    """

    def __init__(
        self, graph: GraphFile, cache: Path, library: Any, options: Mapping[str, str], providers: Sequence[str]
    ) -> None:
        import hashlib

        told = {
            "model": _model_sha256(graph),
            "onnxruntime": str(library.__version__),
            "build": str(library.get_build_info()),
            "processor": processor_sha256(),
            "providers": ",".join(providers),
            **{f"option {name}": value for name, value in sorted(options.items())},
        }
        self._key = "".join(f"{line}\n" for line in [_FORMAT, *(f"{name}: {value}" for name, value in told.items())])
        self._cache = _own(cache)
        self._paranoid = graph.bundle is not None and graph.bundle.paranoid
        self.folder = self._cache / _FOLDER / hashlib.sha256(self._key.encode()).hexdigest()[:32]

    def find(self) -> Path | None:
        """The ONNX file; None where there is none, and where it can't be believed."""
        found = self._find()
        _log.info(
            "%s: %s", self.folder, "the optimised graph is taken" if found else "no optimised graph to be believed"
        )
        return found

    def _find(self) -> Path | None:
        try:
            for folder in (self.folder.parent, self.folder):
                if not stat.S_ISDIR((found := os.lstat(folder)).st_mode) or not is_own(found):
                    return None
            files = self._listed()
            if files is None:
                return None
            marked = {}
            for name, (size, sha256) in files.items():
                found = os.lstat(self.folder / name)
                if not stat.S_ISREG(found.st_mode) or not is_own(found) or found.st_size != size:
                    return None
                marked[name] = mark_of(found), sha256
            if not hashes_agree(self.folder, marked, believe=not self._paranoid):
                return None
        except OSError:
            return None
        return self.folder / _MODEL

    def write(self, open_session: Callable[[dict[str, str], str], Any]) -> Any:
        """What `open_session` returns, which is given options of a session, and the file to write the optimised graph to.

        Raises OutputError where the cache can't be written, and what `open_session` raises.
        """
        options = {
            "session.optimized_model_external_initializers_file_name": _DATA,
            "session.optimized_model_external_initializers_min_size_in_bytes": _LEAST_DATA,
            "session.save_external_prepacked_constant_initializers": "1",
        }
        try:
            self.folder.parent.mkdir(mode=0o700, exist_ok=True)
            staging = Staging(self.folder)
            try:
                made = staging.new / self.folder.name
                made.mkdir()
                session = open_session(options, str(made / _MODEL))
                listed = [
                    f"file {name} {(made / name).stat().st_size} {sha256_of(made / name)}\n" for name in _files(made)
                ]
                (made / _KEY).write_text(self._key + "".join(listed), encoding="utf-8")
                staging.publish()
            except BaseException:
                staging.discard()
                raise
            for path in (self.folder, *self.folder.iterdir()):
                path.chmod(stat.S_IMODE(path.stat().st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
        except OSError as error:
            raise _not_written(self._cache, error.strerror or str(error)) from error
        return session

    def _listed(self) -> dict[str, tuple[int, str]] | None:
        """Size and sha256 of each file that the key lists, where it is the key of this graph."""
        path = self.folder / _KEY
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(descriptor)
            text = opened.read(_MOST_BYTES) if stat.S_ISREG(found.st_mode) and is_own(found) else b""
        head = self._key.encode()
        if not text.startswith(head):
            return None
        files = {}
        for line in text[len(head) :].decode("ascii", "replace").splitlines():
            words = line.split(" ")
            if len(words) != 4 or words[0] != "file" or words[1] not in (_MODEL, _DATA) or not words[2].isdecimal():
                return None
            files[words[1]] = int(words[2]), words[3]
        return files if _MODEL in files and sorted(files) == _files(self.folder) else None


def processor_sha256() -> str:
    """Of the lines in which Linux tells what the first processor is and can do, by which ONNX Runtime orders weights."""
    import hashlib

    try:
        lines = Path("/proc/cpuinfo").read_bytes().split(b"\n\n", 1)[0].split(b"\n")
    except OSError:
        import platform

        lines = [f"model name: {platform.machine()} {platform.processor()}".encode()]
    told = [line for line in lines if line.partition(b":")[0].strip() in _PROCESSOR]
    return hashlib.sha256(b"".join(line + b"\n" for line in told)).hexdigest()


def _model_sha256(graph: GraphFile) -> str:
    """Of the hashes that the manifest gives the ONNX file and its data files, which the opening of the bundle checked."""
    import hashlib

    assert graph.bundle is not None
    entry = graph.bundle.graph(graph.graph).precisions[graph.precision or ""]
    listed = graph.bundle.manifest["files"]
    paths = [
        entry.file.relative_to(graph.bundle.folder),
        *(path.relative_to(graph.bundle.folder) for path in entry.data),
    ]
    return hashlib.sha256("".join(f"{listed[path.as_posix()]['sha256']}\n" for path in paths).encode()).hexdigest()


def _files(folder: Path) -> list[str]:
    return [name for name in (_MODEL, _DATA) if (folder / name).exists()]


def _own(cache: Path) -> Path:
    try:
        cache.mkdir(parents=True, exist_ok=True)
        found = cache.stat()
    except OSError as error:
        raise _not_written(cache, error.strerror or str(error)) from error
    if not is_own(found):
        raise OutputError(
            f"cache {cache}: somebody else could write to it (mode {stat.S_IMODE(found.st_mode):o}, owner {found.st_uid}), and "
            f"what lies there is run; name a folder that is yours alone to write, or leave cache out"
        )
    return cache


def _not_written(cache: Path, why: str) -> OutputError:
    return OutputError(
        f"cache {cache}: can't be written ({why}); name a folder that can, or leave cache out to optimise anew in every process"
    )
