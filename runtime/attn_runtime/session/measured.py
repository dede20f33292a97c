"""Which backend was measured to be the fastest for a graph on this machine: a derived file in the bundle, safe to delete.

It lies in ``engines/``, one file for each machine, and counts for what its key names: the processor, the cores, the versions of
the libraries, the graph's files and the threads. Whatever else it says, it can do no more than name a backend that is installed.
"""

from __future__ import annotations

import json
import math
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import backends
from ..bundle import Bundle
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
    "properties": {"machine": {"type": "object"}, "graphs": {"type": "array", "items": _GRAPH}},
}


def fastest_measured(graph: GraphFile, options: OpenOptions) -> str | None:
    """The backend that `remember` was told to be the fastest for this graph, here and with as many threads; else None.

    Never raises: a file that is damaged, hostile or of another machine counts as none.
    """
    if graph.bundle is None or not any((graph.bundle.folder / _FOLDER).glob(f"{_START}*.json")):
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
    content = {"machine": machine(), "graphs": [*others, {**key, "milliseconds": dict(milliseconds)}]}
    file = _file(bundle)
    try:
        file.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{bundle.path}: {_FOLDER}/ can't be written ({error.strerror}); copy the bundle, or leave out remember"
        ) from error
    write_file(file, (json.dumps(content, indent=1) + "\n").encode())
    return file


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
    import hashlib

    found = bundle.graph(graph)
    chosen = found.chosen(precision, bundle.label(found))
    entry = found.precisions[chosen]
    listed = bundle.manifest["files"]
    hashes = [listed[file.relative_to(bundle.folder).as_posix()]["sha256"] for file in (entry.file, *entry.data)]
    return {
        "graph": found.name,
        "precision": chosen,
        "sha256": hashlib.sha256("".join(hashes).encode()).hexdigest(),
        "threads": threads if isinstance(threads, int) else usable_cores().usable,
        "milliseconds": None,
    }


def _file(bundle: Bundle) -> Path:
    import hashlib

    told = json.dumps(machine(), sort_keys=True).encode()
    return bundle.folder / _FOLDER / f"{_START}{hashlib.sha256(told).hexdigest()[:16]}.json"


def _entries(bundle: Bundle) -> list[dict[str, Any]]:
    """What the file of this machine holds; nothing where it is not there, not of its form, or of another machine."""
    try:
        content = read_json(_file(bundle), "measured", _MOST_BYTES)
    except (BundleError, OSError):
        return []
    if find_problem(content, _SCHEMA, _SCHEMA) or content["machine"] != machine():
        return []
    entries: list[dict[str, Any]] = content["graphs"]
    return entries
