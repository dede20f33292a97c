"""Latencies that `attn-run bench --remember` stored beside the engines, of every machine that measured any."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attn_runtime import latency_curves
from attn_runtime.bundle import Bundle
from attn_runtime.page import Content, Curve, Html, curves, joined, paragraph, table, tag

#: The median of a call, of a graph and of a generator's whole answers: to the first token.
_MEDIANS = ("p50_ms", "first_p50_ms")


def told(bundle: Bundle) -> Html:
    """Nothing where nothing was measured of these files. It is no part of the proof: it is shown and not believed."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for curve in latency_curves(bundle):
        found.setdefault(_machine(curve), {}).setdefault(_graph(curve), []).append(curve)
    return joined(part for machine, graphs in found.items() for part in _shown(machine, graphs))


def _machine(curve: Mapping[str, Any]) -> str:
    cores = curve["machine"].get("cores")
    told = [curve.get("board"), curve["hardware"], f"{cores} cores" if isinstance(cores, int) else None]
    return ", ".join(each for each in told if each)


def _graph(curve: Mapping[str, Any]) -> str:
    return f"{curve['graph'] or 'whole answers'}, {curve['precision']}, {curve['threads']} threads"


def _shown(machine: str, graphs: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Content]:
    yield tag("h3", machine)
    for graph, measured in graphs.items():
        yield paragraph(graph)
        drawn = [Curve(_backend(curve), _points(curve)) for curve in measured]
        if any(len(curve.points) > 1 for curve in drawn):
            yield curves(drawn, "batch", "median ms")
        rows = [_row(curve, point) for curve in measured for point in curve["results"]]
        yield table(("backend", "batch", "median ms", "p99 ms", "a second", "measured"), rows, numbers=(1, 2, 3, 4))


def _backend(curve: Mapping[str, Any]) -> str:
    return str(curve["backend"]) if curve["device"] == "cpu" else f"{curve['backend']} on {curve['device']}"


def _points(curve: Mapping[str, Any]) -> list[tuple[float, float]]:
    found = [(float(point["batch"]), _median(point)) for point in curve["results"]]
    return [(batch, ms) for batch, ms in found if batch > 0 and ms > 0]


def _median(point: Mapping[str, Any]) -> float:
    return float(next((point[name] for name in _MEDIANS if name in point), 0.0))


def _row(curve: Mapping[str, Any], point: Mapping[str, Any]) -> tuple[str, ...]:
    rate, tokens = point.get("throughput"), point.get("tokens_per_second")
    told = f"{tokens:.1f} tokens" if tokens is not None else "" if rate is None else f"{rate:.1f} rows"
    longest = f"{point['p99_ms']:.3f}" if "p99_ms" in point else ""
    return _backend(curve), str(point["batch"]), f"{_median(point):.3f}", longest, told, curve["measured"][:10]
