"""What a bundle or ONNX file holds, in the words of its manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..arguments import PATH, expect
from ..bundle import Bundle, precision_sizes
from ..escape import printable
from ..files import is_file
from ..session import latency_curves, open_session
from ..spec import TensorSpec
from ..text_format import bytes_text, columns

_TIMES = {"p50_ms": "p50", "p99_ms": "p99", "first_p50_ms": "first token p50", "token_ms": "each further"}
_RATES = {"throughput": "items/s", "tokens_per_second": "tokens/s"}


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The manifest of the bundle at `path` under "manifest", or an ONNX file's "inputs" and "outputs".

    Of a bundle, "sizes" has for each precision the "bytes" that it takes, and "shared", which of them another has too;
    "measured" what `bench` was told to remember of these files, on any machine (docs/format/bundle.md).
    Every file of a bundle is hash-checked. Raises BundleError; an ONNX file needs a backend for the CPU.
    """
    expect(PATH, path=path)
    path = Path(path)
    if not is_file(path):
        bundle = Bundle.open(path)
        sizes = {name: size.to_json() for name, size in precision_sizes(bundle).items()}
        told = {"path": str(path), "kind": "bundle", "manifest": bundle.manifest, "sizes": sizes}
        return {**told, "measured": latency_curves(bundle)}
    with open_session(path, "cpu") as session:
        return {
            "path": str(path),
            "kind": "onnx",
            "inputs": [spec.to_json() for spec in session.inputs],
            "outputs": [spec.to_json() for spec in session.outputs],
        }


def info_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """What `describe` returned, for a person."""
    if told["kind"] == "onnx":
        yield f"{Path(told['path']).name}: a plain ONNX file, without golden cases"
        yield from _tensors(told)
        return
    manifest = told["manifest"]
    task = f", {printable(manifest['task'])}" if manifest["task"] else ""
    yield f"{printable(manifest['name'])}{task}: made {printable(manifest['created'])}"
    source = manifest["source"]
    checkpoint = f", weights {printable(source['checkpoint']['file'])}" if source["checkpoint"] else ""
    yield f"  from {source['kind']} {printable(source['ref'])}{checkpoint}"
    if "licence" in source:
        yield f"  licence of the weights: {printable(source['licence'])}"
    if "inputs_from" in source:
        yield f"  inputs depend on one another, drawn by {printable(source['inputs_from'])}"
    yield "  with " + ", ".join(f"{printable(k)} {printable(str(v))}" for k, v in manifest["versions"].items())
    for name, graph in manifest["graphs"].items():
        yield ""
        yield f"graph {printable(name)}: opset {graph['opset']}, exporter {graph['exporter']}"
        yield from _tensors(graph)
        for cure in graph["cures"]:
            yield f"  cure {printable(cure['name'])}: {printable(cure['did'])}"
        yield from _indented(_stages(graph))
        for precision, entry in graph["precisions"].items():
            yield from _precision(precision, entry)
        for check in graph["consistency"]:
            note = f" ({printable(check['note'])})" if check["note"] else ""
            yield f"  {printable(check['name'])}: {'holds' if check['passed'] else 'does not hold'}{note}"
        yield "  golden cases: " + ", ".join(f"{printable(g['case'])} ({_sizes(g['sizes'])})" for g in graph["golden"])
    yield from _generation(manifest)
    yield from _measured(told["measured"])
    yield ""
    for precision, size in told["sizes"].items():
        yield f"{printable(precision)} takes {_size(size)}"
    yield from columns(
        [("file", "size", "sha256")]
        + [(printable(f), bytes_text(e["size"]), e["sha256"][:16]) for f, e in manifest["files"].items()]
    ).split("\n")


def _measured(curves: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was timed, a line for each machine, backend and precision."""
    if curves:
        yield ""
    for curve in curves:
        what = printable(curve["graph"] or "whole answers")
        on = printable(curve.get("board") or curve["hardware"])
        yield (
            f"measured {printable(curve['measured'][:10])}: {what} in {printable(curve['precision'])} by "
            f"{printable(curve['backend'])} on {on}, {curve['threads']} threads"
        )
        for point in curve["results"]:
            told = [f"{name} {point[key]:.3f} ms" for key, name in _TIMES.items() if key in point]
            told += [f"{point[key]:.1f} {unit}" for key, unit in _RATES.items() if key in point]
            yield f"  batch {point['batch']}: {', '.join(told)}"


def _generation(manifest: Mapping[str, Any]) -> Iterator[str]:
    """What PyTorch wrote with all graphs together."""
    for number, case in enumerate(manifest.get("generation", ())):
        if number == 0:
            yield ""
        beams = f"{case['beams']} beams, length penalty {case['length_penalty']:g}" if case["beams"] > 1 else "greedy"
        margin = "none" if case["margin"] is None else f"{case['margin']:.2g}"
        yield (
            f"writes {printable(case['case'])}: {beams}, at most {case['max_length']} tokens, margin {margin}, scores within "
            f"{case['tolerance']:.2g}"
        )


def _tensors(graph: Mapping[str, Any]) -> Iterator[str]:
    for side in ("inputs", "outputs"):
        for data in graph[side]:
            spec = TensorSpec.from_json(data)
            about = ", ".join(printable(text) for text in (spec.meaning, spec.unit) if text)
            yield f"  {side[:-1]:6} {printable(str(spec))}{f'  ({about})' if about else ''}"


def _stages(graph: Mapping[str, Any]) -> str:
    """The passes in order, each with the worst of its checks, as a share of what was allowed."""
    rows = [("stage", "precision", "nodes", "max |error|", "allowed", "checks", "")]
    for stage in graph["stages"]:
        checks = stage["checks"]
        worst = max(checks, key=_share, default=None)
        nodes = str(stage["nodes_after"])
        if stage["nodes_before"] is not None:
            nodes = f"{stage['nodes_before']} -> {nodes}"
        rows.append(
            (
                printable(stage["name"]),
                printable(stage["precision"]),
                nodes,
                _number(worst["max_error"]) if worst else "",
                _number(worst["limit"]) if worst else "",
                str(len(checks)),
                printable(stage["note"]) if stage["kept"] else f"not kept: {printable(stage['note'])}",
            )
        )
    return columns(rows)


def _precision(name: str, entry: Mapping[str, Any]) -> Iterator[str]:
    """Which file it is, which attention it has, and what stays in fp32 in it."""
    told = [entry.get("type", "fp32")]
    told += [f"for {entry['target']} only"] if "target" in entry else []
    told += ["float16 inputs and outputs"] if entry.get("half_io") else []
    blocks = len(entry.get("attention", ()))
    told += [f"{blocks} attention block{'s' if blocks > 1 else ''}"] if blocks else []
    yield f"  precision {printable(name)}: {printable(entry['file'])}, {', '.join(told)}"
    together: dict[tuple[str, str], list[str]] = {}
    for kept in entry.get("kept", ()):
        together.setdefault((kept["module"] or kept["node"], kept["reason"]), []).append(kept["operator"])
    for (where, reason), operators in together.items():
        yield f"    kept in fp32: {printable(where)} ({printable(reason)}): {printable(', '.join(operators))}"


def _size(size: Mapping[str, Any]) -> str:
    """How much it is, and how much of it the bundle has for another precision anyway."""
    shared = [f"{bytes_text(count)} shared with {printable(other)}" for other, count in size["shared"].items()]
    return ", of which ".join([bytes_text(size["bytes"]), *([" and ".join(shared)] if shared else [])])


def _share(check: Mapping[str, Any]) -> float:
    if check["max_error"] is None:
        return float("inf")
    return float(check["max_error"] / check["limit"]) if check["limit"] else float(check["max_error"] > 0)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.2g}"


def _sizes(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{printable(name)}={size}" for name, size in sizes.items()) or "fixed shapes"


def _indented(text: str) -> Iterator[str]:
    return (f"  {line}" for line in text.split("\n"))
