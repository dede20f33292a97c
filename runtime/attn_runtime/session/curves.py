"""How long calls took on the machines where a bundle was measured, by batch size: kept in it, for people and for reports.

They lie in the files of `measured`, and count for nothing but being shown; those of other files than the bundle has now are not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..bundle import Bundle, Precision
from ..device import find_gpus, gpus, read_jetpack
from ..files import find_problem
from ..ort import cpu_name
from .measured import all_files, files_sha256, read_file, read_own, threads_of, write_own

_MOST_FILES, _MOST_CURVES, _MOST_POINTS, _MOST_TEXT = 64, 256, 256, 200
_TEXT, _NUMBER, _COUNT = (
    {"type": "string", "maxLength": _MOST_TEXT},
    {"type": "number", "minimum": 0},
    {"type": "integer"},
)
#: What is kept of a result: of a graph, and of a generator's whole answers.
_POINT = {
    **dict.fromkeys(("batch", "runs", "prompt", "new_tokens"), _COUNT),
    **dict.fromkeys(("p50_ms", "p90_ms", "p99_ms", "throughput"), _NUMBER),
    **dict.fromkeys(("first_p50_ms", "first_p90_ms", "token_ms", "tokens_per_second"), _NUMBER),
    "sizes": {"type": "object", "additionalProperties": _COUNT, "maxProperties": 64},
}
_CURVE = {
    "type": "object",
    "required": [
        "graph",
        "precision",
        "sha256",
        "threads",
        "backend",
        "device",
        "hardware",
        "measured",
        "call",
        "results",
    ],
    "properties": {
        **dict.fromkeys(("precision", "sha256", "backend", "device", "hardware", "board", "measured", "call"), _TEXT),
        "graph": {"type": ["string", "null"], "maxLength": _MOST_TEXT},
        "threads": _COUNT,
        "results": {
            "type": "array",
            "minItems": 1,
            "maxItems": _MOST_POINTS,
            "items": {"type": "object", "required": ["batch"], "properties": _POINT},
        },
    },
}
_KEY = ("graph", "precision", "threads", "backend", "device", "call")


def remember_curve(
    bundle: Bundle,
    graph: str | None,
    precision: str,
    threads: int | str | None,
    backend: str,
    device: str,
    call: str,
    results: Sequence[Mapping[str, Any]],
) -> Path:
    """Keep `results`, one for each batch size, in the place of what was measured so before; returns the file.

    `graph` is None for what all graphs write together. Raises OutputError where the bundle can't be written.
    """
    board = None if (jetpack := read_jetpack()) is None else jetpack.board
    curve = {
        "graph": graph,
        "precision": precision,
        "sha256": files_sha256(bundle, _entries(bundle, graph, precision)),
        "threads": threads_of(threads),
        "backend": backend,
        "device": device,
        "hardware": _hardware(device)[:_MOST_TEXT],
        **({"board": board[:_MOST_TEXT]} if board else {}),
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "call": call,
        "results": [{name: each[name] for name in _POINT if each.get(name) is not None} for each in results],
    }
    others = [each for each in _sound(bundle, read_own(bundle)) if any(each[name] != curve[name] for name in _KEY)]
    return write_own(bundle, curves=[*others, curve][-_MOST_CURVES:])


def latency_curves(bundle: Bundle) -> list[dict[str, Any]]:
    """What was measured of the files that the bundle has now, on whichever machine, in the order in which it was.

    Each is as docs/format/bundle.md tells of `curves`, with the file's `machine` besides. What is damaged or hostile is left
    out; the texts are somebody's.
    """
    found = []
    for file in all_files(bundle)[:_MOST_FILES]:
        content = read_file(file)
        found += [{**curve, "machine": content["machine"]} for curve in _sound(bundle, content)]
    return sorted(found, key=lambda curve: str(curve["measured"]))


def _hardware(device: str) -> str:
    """The name of the GPU or the processor."""
    names = () if device == "cpu" else find_gpus().names
    return dict(enumerate(names)).get(gpus.device_number(device), cpu_name())


def _sound(bundle: Bundle, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    curves = content.get("curves", [])[:_MOST_CURVES]
    return [curve for curve in curves if not find_problem(curve, _CURVE, _CURVE) and _is_of(bundle, curve)]


def _is_of(bundle: Bundle, curve: Mapping[str, Any]) -> bool:
    entries = _entries(bundle, curve["graph"], curve["precision"])
    return bool(entries) and files_sha256(bundle, entries) == curve["sha256"]


def _entries(bundle: Bundle, graph: str | None, precision: str) -> list[Precision]:
    graphs = (
        bundle.graphs.values() if graph is None else [found for found in bundle.graphs.values() if found.name == graph]
    )
    return [found.precisions[precision] for found in graphs if precision in found.precisions]
