"""Latencies that `attn-run bench --remember` stored beside the engines, of every machine that measured any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Bundle
from attn_runtime.errors import BundleError
from attn_runtime.files import read_json
from attn_runtime.page import Content, Curve, Html, bar, curves, joined, paragraph, table, tag
from attn_runtime.trt import ENGINES

_MOST_BYTES = 1 << 20


def told(bundle: Bundle) -> Html:
    """Nothing where nothing was measured. The files are no part of the proof: what is in them is shown and not believed."""
    files = sorted((bundle.folder / ENGINES).glob("measured-*.json"))
    return joined(part for file in files if not file.is_symlink() for part in _machine(file))


def _machine(file: Path) -> Iterator[Content]:
    try:
        content = read_json(file, "measured", _MOST_BYTES)
    except (BundleError, OSError):
        return
    graphs = content.get("graphs") if isinstance(content, dict) else None
    entries = [entry for entry in graphs if isinstance(entry, dict)] if isinstance(graphs, list) else []
    if not entries:
        return
    yield tag("h3", _named(content.get("machine")))
    for entry in entries:
        yield from _graph(entry)


def _named(machine: Any) -> str:
    """The hardware in words, whatever fields its file has."""
    if not isinstance(machine, dict):
        return "a machine without a name"
    told = [str(machine[key]) for key in ("board", "gpu", "cpu") if machine.get(key)]
    cores = [f"{machine['cores']} cores"] if machine.get("cores") else []
    return ", ".join([*told, *cores]) or "a machine without a name"


def _graph(entry: Mapping[str, Any]) -> Iterator[Content]:
    threads = f", {entry['threads']} threads" if entry.get("threads") else ""
    yield paragraph(f"{entry.get('graph', 'graph')}, {entry.get('precision', '')}{threads}")
    points: dict[str, dict[float, float]] = {}
    for backend, batch, p50 in _points(entry, ""):
        points.setdefault(backend, {})[batch] = p50
    if any(len(curve) > 1 for curve in points.values()):
        yield curves([Curve(name, list(curve.items())) for name, curve in points.items()], "batch", "median ms")
    times = {str(k): v for k, v in _mapping(entry.get("milliseconds")).items() if _positive(v)}
    slowest = max(times.values(), default=1.0)
    rows = [
        (name, f"{ms:.3f}", bar(ms / slowest))
        for name, ms in sorted(times.items(), key=lambda item: (item[1], item[0]))
    ]
    yield table(("backend", "milliseconds of a call, mean over the sizes", ""), rows, numbers=(1,))


def _points(value: Any, backend: str) -> Iterator[tuple[str, float, float]]:
    """(backend, batch, median) wherever an object of the entry has them, under the backend's name or with it inside."""
    if isinstance(value, list):
        for each in value:
            yield from _points(each, backend)
    elif isinstance(value, dict):
        backend = str(value.get("backend", backend))
        if _positive(value.get("batch")) and _positive(value.get("p50_ms")):
            yield backend, float(value["batch"]), float(value["p50_ms"])
        for key, each in value.items():
            yield from _points(each, backend if key in ("results", "sizes", "batches") else str(key))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0
