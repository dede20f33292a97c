"""The report of a setup as one page: no script, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..page import Html, bar, document, notes, paragraph, section, state, table, tag, text, verdict
from ..text_format import bytes_text

_WORDS = {"fail": "failed", "kept": "was there"}


def page(report: Mapping[str, Any]) -> str:
    """The whole document."""
    title = f"{report['model']} on {report['made_for']['board']}"
    body = [
        tag("h1", title),
        paragraph(_where(report), "soft"),
        _verdict(report),
        section("Checks", _checks(report)),
        section("Engines", *_builds(report)) if report["device"] == "cuda" else None,
        section("Answers, against PyTorch's", *_answers(report)),
        section("Times", *_times(report)),
        section("How it was made", *_made(report)),
    ]
    return document(title, body)


def _where(report: Mapping[str, Any]) -> str:
    board = report["board"] or "unknown board"
    jetpack = f"JetPack {report['jetpack'] or 'unknown'}, L4T {report['l4t'] or 'unknown'}"
    engine = "TensorRT on the GPU" if report["device"] == "cuda" else "ONNX Runtime on the CPU"
    return f"{board}; {jetpack}; {engine}; {report['started']}"


def _verdict(report: Mapping[str, Any]) -> Html:
    cases = [case for one in report["verified"] if one["report"] for case in one["report"]["cases"]]
    right = sum(case["passed"] for case in cases)
    if not report["passed"]:
        return verdict("Failed.", False, report["error"])
    return verdict(
        f"Passed: {right} of {len(cases)} golden cases have PyTorch's answers, within the tolerances of the bundle.",
        True,
    )


def _checks(report: Mapping[str, Any]) -> Html:
    rows = [(_state(check["state"]), text(check["name"]), text(check["told"], 1000)) for check in report["checks"]]
    return table(("", "what", "found"), rows)


def _builds(report: Mapping[str, Any]) -> Iterator[Html]:
    if not report["builds"]:
        yield paragraph("None was built: the checks failed.")
    head = ("", "graph", "precision", "matmuls and convolutions", "size", "scratch", "build")
    yield table(head, map(_built, report["builds"]), numbers=(4, 5, 6), limit=2000)
    yield notes(note for built in report["builds"] for note in built.get("notes", ()))
    yield notes(
        f"{built['graph']}, {attempt['typing']}ly typed: {attempt['error']}"
        for built in report["builds"]
        for attempt in built["tries"]
        if attempt["error"] and built["state"] != "failed"
    )


def _built(built: Mapping[str, Any]) -> tuple[str | Html, ...]:
    start = (_state(built["state"]), text(built["graph"]), text(built["precision"]))
    if built["state"] == "failed":
        return (*start, built["error"], "", "", "")
    counts = ", ".join(f"{count} in {dtype}" for dtype, count in built["counts"].items())
    types = "strongly typed" if built["typing"] == "strong" else "weakly typed: TensorRT chose"
    blocks = built["attention"]
    fused = f"; {blocks['fused']} of {blocks['blocks']} attention blocks fused" if blocks["blocks"] else ""
    scratch = "-" if built["scratch"] is None else bytes_text(built["scratch"])
    told = text(f"{types}; {counts}{fused}", 500)
    return (*start, told, bytes_text(built["size"]), scratch, f"{built['build_seconds']:.1f} s")


def _answers(report: Mapping[str, Any]) -> Iterator[Html]:
    if not report["verified"]:
        yield paragraph("Not held against PyTorch's: the checks failed.")
    head = ("", "graph", "case", "sizes", "output", "|error|", "allowed", "share of what is allowed")
    for one in report["verified"]:
        yield tag("p", _state(one["state"]), " ", tag("b", one["precision"]), " ", text(one["error"], 2000))
        if not one["report"]:
            continue
        rows = [_answer(case, output) for case in one["report"]["cases"] for output in case["outputs"]]
        yield table(head, rows, numbers=(5, 6), limit=200)
        generated = [row for row in one["report"].get("generation", ()) if row.get("row") is not None]
        if generated:
            same = sum(bool(row.get("same")) for row in generated)
            yield paragraph(f"{same} of {len(generated)} generated answers are PyTorch's, token by token.")
        yield notes(one["report"].get("notes", ()))


def _answer(case: Mapping[str, Any], output: Mapping[str, Any]) -> tuple[str | Html, ...]:
    sizes = ", ".join(f"{name} {size}" for name, size in case["sizes"].items())
    error, limit = output["max_error"], output["limit"]
    told = output["problem"] or (f"{error:.2g}" if error is not None else "not finite")
    judged = _state("ok" if output["passed"] else "fail")
    return judged, case["graph"], case["case"], sizes, output["output"], told, f"{limit:.2g}", bar(_share(error, limit))


def _share(error: float | None, limit: float) -> float:
    return math.inf if error is None else 0.0 if error == 0 else error / limit if limit else math.inf


def _times(report: Mapping[str, Any]) -> Iterator[Html]:
    measured = [(one, size) for one in report["benches"] if one["report"] for size in one["report"]["results"]]
    slowest = max((size["p50_ms"] for _, size in measured), default=0.0)
    head = ("graph", "precision", "batch", "median ms", "p99 ms", "items/s", "peak memory", "median")
    rows = [
        (one["graph"], one["precision"], f"{size['batch']}", f"{size['p50_ms']:.3f}", f"{size['p99_ms']:.3f}",
         f"{size['throughput']:.1f}", bytes_text(size["peak_memory"]), bar(size["p50_ms"] / slowest if slowest else 0))
        for one, size in measured
    ]  # fmt: skip
    errors = [one for one in report["benches"] if not one["report"]]
    yield table(head, rows, numbers=range(2, 7))
    if rows:
        yield paragraph(
            "Bound calls on random inputs, the host's copies included; the power mode is among the checks.", "soft"
        )
    elif not errors:
        yield paragraph("Not measured.")
    for one in errors:
        yield tag("p", one["graph"], " ", one["precision"], ": ", text(one["error"], 500), class_="fail")


def _made(report: Mapping[str, Any]) -> Iterator[Html]:
    made = report["made_for"]
    yield paragraph(
        f"Made for {made['board']} with JetPack {made['jetpack']} by {made['made_by']}; set up by {report['setup_by']} "
        f"in {report['seconds']:.0f} s."
    )
    yield from map(paragraph, made["notes"])


def _state(found: str) -> Html:
    return state(_WORDS.get(found, found))
