"""What the precisions of a bundle take on disk, what several of them or several of their graphs share counted once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..onnx_file import external_ranges
from .reader import Bundle, Precision

#: A file, and a stretch of it: the first byte, and one past the last.
Stretch = tuple[Path, int, int]


@dataclass(frozen=True)
class PrecisionSize:
    """bytes     of its ONNX files and of the weights that they name: what it takes without the other precisions
    shared    precision -> bytes of these that it has too; only those that come before it in the bundle
    """

    bytes: int
    shared: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "shared": dict(self.shared)}


def precision_sizes(bundle: Bundle) -> dict[str, PrecisionSize]:
    """The size of each precision of `bundle`, over all graphs that have it, in the manifest's order.

    Weights are counted by where they lie, not by the size of their file, which may hold those of another precision.
    Raises BundleError for an ONNX file that can't be read.
    """
    names = dict.fromkeys(name for graph in bundle.graphs.values() for name in graph.precisions)
    held: dict[str, set[Stretch]] = {}
    found = {}
    for name in names:
        entries = [graph.precisions[name] for graph in bundle.graphs.values() if name in graph.precisions]
        held[name] = _stretches(entries)
        common = {other: _sum(held[name] & before) for other, before in held.items() if other != name}
        found[name] = PrecisionSize(_sum(held[name]), {other: count for other, count in common.items() if count})
    return found


def file_bytes(entries: Iterable[Precision]) -> int:
    """Bytes of the ONNX files of `entries` and of the weights that they name, equal places once. Raises BundleError."""
    return _sum(_stretches(entries))


def _stretches(entries: Iterable[Precision]) -> set[Stretch]:
    found: set[Stretch] = set()
    for entry in entries:
        found.add((entry.file, 0, entry.file.stat().st_size))
        # Without data no file is parsed that is read whole anyway.
        for location, start, stop in external_ranges(entry.file, entry.file.name) if entry.data else ():
            found.add((entry.file.parent / location, start, stop))
    return found


def _sum(stretches: Iterable[Stretch]) -> int:
    return sum(stop - start for _, start, stop in stretches)
