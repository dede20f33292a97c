"""Which backend was measured to be the fastest for a graph on this machine: a derived file in the bundle, safe to delete.

It lies in ``engines/``, one file for each machine, and counts for what its key names: the processor, the cores, the versions of
the libraries, the graph's files and the threads. Whatever else it says, it can do no more than name a backend that is installed.
The same file keeps how long calls took, for people: `latency_curves`.
"""

from __future__ import annotations

import json
import math
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import backends
from ..bundle import Bundle, Precision
from ..errors import BundleError, OutputError
from ..files import find_problem, read_json, write_file
from ..interface import GraphFile, OpenOptions
from ..logs import Log
from ..ort import cpu_name, usable_cores

_log = Log(__name__)

_FOLDER, _START = "engines", "measured-"
_MOST_BYTES = 1 << 20
_LIBRARIES = ("attn-runtime", "numpy", "onnxruntime", "onnxruntime-gpu", "openvino")

_TIMES = {
    "type": "object",
    "minProperties": 1,
    "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
}
_GRAPH = {
    "type": "object",
    "required": ["graph", "precision", "sha256", "threads", "milliseconds"],
    "additionalProperties": False,
    "properties": {
        "graph": {"type": "string"},
        "precision": {"type": "string"},
        "sha256": {"type": "string"},
        "threads": {"type": "integer"},
        "milliseconds": _TIMES,
    },
}
_SCHEMA = {
    "type": "object",
    "required": ["machine", "graphs"],
    "additionalProperties": False,
    "properties": {
        "machine": {"type": "object"},
        "graphs": {"type": "array", "items": _GRAPH},
        "curves": {"type": "array", "items": {"type": "object"}},
    },
}


def fastest_measured(graph: GraphFile, options: OpenOptions) -> str | None:
    """The backend that `remember` was told to be the fastest for this graph, here and with as many threads; else None.

    Never raises: a file that is damaged, hostile or of another machine counts as none.
    """
    if graph.bundle is None or not all_files(graph.bundle):
        return None
    key = _key(graph.bundle, graph.graph, graph.precision, options.threads)
    found = [entry["milliseconds"] for entry in _entries(graph.bundle) if {**entry, "milliseconds": None} == key]
    times = {name: ms for name, ms in found[-1].items() if name in backends.names()} if found else {}
    _log.info("measured here before, in milliseconds: %s", times or "nothing")
    best = min(times, key=lambda name: (times[name], name), default=None)
    return best if best and backends.computes(best) else None


def remember(
    bundle: Bundle,
    graph: str | None,
    precision: str | None,
    threads: int | str | None,
    milliseconds: Mapping[str, float],
) -> Path:
    """Write what each backend took for this graph into the bundle; returns the file. Other graphs' times in it stay.

    `milliseconds` are of one call, finite and above 0. Raises OutputError where the bundle can't be written.
    """
    assert all(math.isfinite(value) and value > 0 for value in milliseconds.values())
    key = _key(bundle, graph, precision, threads)
    others = [entry for entry in _entries(bundle) if {**entry, "milliseconds": None} != key]
    return write_own(bundle, graphs=[*others, {**key, "milliseconds": dict(milliseconds)}])


def write_own(bundle: Bundle, **parts: list[dict[str, Any]]) -> Path:
    """Put `parts` into the file of this machine in the place of those of these names; returns the file. Raises OutputError."""
    check_writable(bundle)
    file, content = _file(bundle), {"graphs": [], **read_own(bundle), "machine": machine(), **parts}
    try:
        file.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise _not_kept(bundle, error.strerror) from error
    write_file(file, (json.dumps(content, indent=1) + "\n").encode())
    return file


def check_writable(bundle: Bundle) -> None:
    """OutputError where nothing can be kept in the bundle, as far as can be seen; worth calling before long work."""
    folder = bundle.folder / _FOLDER
    there = folder if os.path.lexists(folder) else bundle.folder
    if not there.is_dir():
        raise _not_kept(bundle, "Not a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise _not_kept(bundle, "it is read-only")


def _not_kept(bundle: Bundle, why: str | None) -> OutputError:
    return OutputError(f"{bundle.path}: {_FOLDER}/ can't be written ({why}); copy the bundle, or leave out remember")


def machine() -> dict[str, Any]:
    """What a time depends on beside the graph: processor, cores, system, and the versions of the libraries."""
    from importlib import metadata  # slow to import, and most bundles have nothing measured

    versions = {}
    for name in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "cpu": cpu_name(),
        "cores": usable_cores().usable,
        "system": f"{sys.platform}-{platform.machine()}",
        "libraries": versions,
    }


def _key(bundle: Bundle, graph: str | None, precision: str | None, threads: int | str | None) -> dict[str, Any]:
    found = bundle.graph(graph)
    chosen = found.chosen(precision, bundle.label(found))
    return {
        "graph": found.name,
        "precision": chosen,
        "sha256": files_sha256(bundle, [found.precisions[chosen]]),
        "threads": threads_of(threads),
        "milliseconds": None,
    }


def files_sha256(bundle: Bundle, entries: Iterable[Precision]) -> str:
    """One for the files of all of them: another export has another."""
    import hashlib

    listed = bundle.manifest["files"]
    files = [file for entry in entries for file in (entry.file, *entry.data)]
    hashes = [listed[file.relative_to(bundle.folder).as_posix()]["sha256"] for file in files]
    return hashlib.sha256("".join(hashes).encode()).hexdigest()


def threads_of(asked: int | str | None) -> int:
    """As many as a session takes that is opened with these."""
    return asked if isinstance(asked, int) else usable_cores().usable


def _file(bundle: Bundle) -> Path:
    import hashlib

    told = json.dumps(machine(), sort_keys=True).encode()
    return bundle.folder / _FOLDER / f"{_START}{hashlib.sha256(told).hexdigest()[:16]}.json"


def _entries(bundle: Bundle) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = read_own(bundle).get("graphs", [])
    return entries


def read_own(bundle: Bundle) -> dict[str, Any]:
    """What the file of this machine holds; nothing where it is not there, not of its form, or of another machine."""
    content = read_file(_file(bundle))
    return content if content.get("machine") == machine() else {}


def all_files(bundle: Bundle) -> list[Path]:
    """Of all machines."""
    return sorted((bundle.folder / _FOLDER).glob(f"{_START}*.json"))


def read_file(file: Path) -> dict[str, Any]:
    """What a machine's file holds; nothing where it is not there, or not of its form."""
    try:
        content: dict[str, Any] = read_json(file, "measured", _MOST_BYTES)
    except (BundleError, OSError):
        return {}
    return {} if find_problem(content, _SCHEMA, _SCHEMA) else content
