"""The report of a setup as one page: no script, nothing loaded from elsewhere, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..escape import html_text
from ..text_format import bytes_text

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d1d9e0; --ground: #fff; --band: #f6f8fa;
  --good: #1a7f37; --bad: #c62828; --warn: #8a5a00; --bar: #4a7fb5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4af; --line: #3a424b; --ground: #14181d;
  --band: #1c2229; --good: #4fc26b; --bad: #ff7b72; --warn: #e0a84a; --bar: #6fa3d8; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2.2rem 0 .5rem; }
p { margin: .4rem 0; } .soft { color: var(--soft); }
.verdict { border-left: .4rem solid var(--good); padding: .6rem 1rem; background: var(--band); margin: 1rem 0; }
.verdict.fail { border-color: var(--bad); }
.table { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .7rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); font-size: .85rem; white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.ok { color: var(--good); } .fail { color: var(--bad); } .note { color: var(--warn); }
.state { font-weight: 600; white-space: nowrap; }
.bar { display: block; height: .7rem; background: var(--bar); min-width: 2px; border-radius: 2px; }
.bar.over { background: var(--bad); } .track { width: 11rem; margin-top: .35rem; background: var(--band);
  border-radius: 2px; }
pre { overflow-x: auto; background: var(--band); padding: .6rem; font-size: .8rem; }
"""

_WORDS = {"ok": "ok", "note": "note", "fail": "failed", "built": "built", "kept": "was there", "failed": "failed",
          "passed": "passed", "skipped": "skipped"}  # fmt: skip
_CLASSES = {"built": "ok", "kept": "ok", "passed": "ok", "failed": "fail", "skipped": "note"}


def page(report: Mapping[str, Any]) -> str:
    """The whole document."""
    title = f"{report['model']} on {report['made_for']['board']}"
    body = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="soft">{_text(_where(report))}</p>',
        _verdict(report),
        _section("Checks", _checks(report)),
        _section("Engines", _builds(report)) if report["device"] == "cuda" else "",
        _section("Answers, against PyTorch's", "".join(_answers(report))),
        _section("Times", _times(report)),
        _section("How it was made", _made(report)),
    ]
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{_text(title)}</title>\n'
        f"<style>{_STYLE}</style>\n" + "\n".join(filter(None, body)) + "\n</html>\n"
    )


def _where(report: Mapping[str, Any]) -> str:
    board = report["board"] or "unknown board"
    jetpack = f"JetPack {report['jetpack'] or 'unknown'}, L4T {report['l4t'] or 'unknown'}"
    engine = "TensorRT on the GPU" if report["device"] == "cuda" else "ONNX Runtime on the CPU"
    return f"{board}; {jetpack}; {engine}; {report['started']}"


def _verdict(report: Mapping[str, Any]) -> str:
    cases = [case for one in report["verified"] if one["report"] for case in one["report"]["cases"]]
    right = sum(case["passed"] for case in cases)
    if report["passed"]:
        told = (
            f"Passed: {right} of {len(cases)} golden cases have PyTorch's answers, within the tolerances of the bundle."
        )
        return f'<p class="verdict"><b>{_text(told)}</b></p>'
    return f'<p class="verdict fail"><b>Failed.</b> {_text(report["error"], 2000)}</p>'


def _checks(report: Mapping[str, Any]) -> str:
    rows = [(_state(check["state"]), _text(check["name"]), _text(check["told"], 1000)) for check in report["checks"]]
    return _table(("", "what", "found"), rows)


def _builds(report: Mapping[str, Any]) -> str:
    if not report["builds"]:
        return "<p>None was built: the checks failed.</p>"
    rows = []
    for built in report["builds"]:
        if built["state"] == "failed":
            rows.append(
                (
                    _state("failed"),
                    _text(built["graph"]),
                    _text(built["precision"]),
                    _text(built["error"], 2000),
                    "",
                    "",
                    "",
                )
            )
            continue
        counts = ", ".join(f"{count} in {dtype}" for dtype, count in built["counts"].items())
        types = "strongly typed" if built["typing"] == "strong" else "weakly typed: TensorRT chose"
        blocks = built["attention"]
        fused = f"; {blocks['fused']} of {blocks['blocks']} attention blocks fused" if blocks["blocks"] else ""
        scratch = "-" if built["scratch"] is None else bytes_text(built["scratch"])
        rows.append(
            (_state(built["state"]), _text(built["graph"]), _text(built["precision"]), _text(f"{types}; {counts}{fused}", 500),
             bytes_text(built["size"]), scratch, f"{built['build_seconds']:.1f} s")
        )  # fmt: skip
    notes = [note for built in report["builds"] for note in built.get("notes", ())]
    notes += [
        f"{built['graph']}, {attempt['typing']}ly typed: {attempt['error']}"
        for built in report["builds"]
        for attempt in built["tries"]
        if attempt["error"] and built["state"] != "failed"
    ]
    table = _table(("", "graph", "precision", "matmuls and convolutions", "size", "scratch", "build"), rows, numbers=3)
    return table + "".join(f'<p class="note">{_text(note, 500)}</p>' for note in notes)


def _answers(report: Mapping[str, Any]) -> Iterator[str]:
    if not report["verified"]:
        yield "<p>Not held against PyTorch's: the checks failed.</p>"
    for one in report["verified"]:
        yield f"<p>{_state(one['state'])} <b>{_text(one['precision'])}</b> {_text(one['error'], 2000)}</p>"
        if not one["report"]:
            continue
        rows = []
        for case in one["report"]["cases"]:
            sizes = ", ".join(f"{name} {size}" for name, size in case["sizes"].items())
            for output in case["outputs"]:
                error, limit = output["max_error"], output["limit"]
                told = output["problem"] or (f"{error:.2g}" if error is not None else "not finite")
                rows.append(
                    (_state("ok" if output["passed"] else "fail"), _text(case["graph"]), _text(case["case"]), _text(sizes),
                     _text(output["output"]), _text(told), f"{limit:.2g}", _share(error, limit))
                )  # fmt: skip
        yield _table(
            ("", "graph", "case", "sizes", "output", "|error|", "allowed", "share of what is allowed"), rows, plain=5
        )
        generated = [row for row in one["report"].get("generation", ()) if row.get("row") is not None]
        if generated:
            same = sum(bool(row.get("same")) for row in generated)
            yield f"<p>{same} of {len(generated)} generated answers are PyTorch's, token by token.</p>"
        for note in one["report"].get("notes", ()):
            yield f'<p class="note">{_text(note, 500)}</p>'


def _share(error: float | None, limit: float) -> str:
    """A bar: the whole track is what is allowed."""
    share = math.inf if error is None else 0.0 if error == 0 else error / limit if limit else math.inf
    over = " over" if share > 1 else ""
    return f'<div class="track"><span class="bar{over}" style="width:{min(share, 1) * 100:.1f}%"></span></div>'


def _times(report: Mapping[str, Any]) -> str:
    rows, errors = [], []
    slowest = max(
        (size["p50_ms"] for one in report["benches"] if one["report"] for size in one["report"]["results"]), default=0.0
    )
    for one in report["benches"]:
        if not one["report"]:
            errors.append(
                f'<p class="fail">{_text(one["graph"])} {_text(one["precision"])}: {_text(one["error"], 500)}</p>'
            )
            continue
        for size in one["report"]["results"]:
            share = size["p50_ms"] / slowest * 100 if slowest else 0
            rows.append(
                (_text(one["graph"]), _text(one["precision"]), f"{size['batch']}", f"{size['p50_ms']:.3f}",
                 f"{size['p99_ms']:.3f}", f"{size['throughput']:.1f}", bytes_text(size["peak_memory"]),
                 f'<div class="track"><span class="bar" style="width:{share:.1f}%"></span></div>')
            )  # fmt: skip
    if not rows:
        return "".join(errors) or "<p>Not measured.</p>"
    head = ("graph", "precision", "batch", "median ms", "p99 ms", "items/s", "peak memory", "median")
    told = '<p class="soft">Bound calls on random inputs, the host\'s copies included; the power mode is among the checks.</p>'
    return _table(head, rows, plain=2) + told + "".join(errors)


def _made(report: Mapping[str, Any]) -> str:
    made = report["made_for"]
    lines = [f"Made for {made['board']} with JetPack {made['jetpack']} by {made['made_by']}; set up by {report['setup_by']} "
             f"in {report['seconds']:.0f} s.", *made["notes"]]  # fmt: skip
    return "".join(f"<p>{_text(line, 600)}</p>" for line in lines)


# --- pieces -----------------------------------------------------------------------------------------------------------


def _section(title: str, body: str) -> str:
    return f"<h2>{_text(title)}</h2>\n{body}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0, plain: int | None = None) -> str:
    """`rows` are HTML already. The last `numbers` columns are numbers; or, with `plain`, those from there to the last but one."""
    first = len(head) - numbers if plain is None else plain
    last = len(head) if plain is None else len(head) - 1

    number_class = ' class="n"'

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{number_class if first <= number < last else ''}>{cell}</{tag}>" for number, cell in enumerate(row)
        )

    body = "\n".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f'<div class="table"><table>\n<tr>{cells([_text(text) for text in head], "th")}</tr>\n{body}\n</table></div>'


def _state(state: str) -> str:
    return f'<span class="state {_CLASSES.get(state, state)}">{_WORDS[state]}</span>'


def _text(text: object, limit: int = 200) -> str:
    return html_text(str(text), limit)
