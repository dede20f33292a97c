"""What was measured, as tables in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

#: Heading, key and how it is written.
COLUMNS: Sequence[tuple[str, str, str]] = (
    ("ms", "seconds", "{:,.1f}"),
    ("of fp32", "ratio", "{:.2f}"),
    ("tokens/s", "tokens_per_second", "{:,.0f}"),
    ("error of max", "error", "{:.1e}"),
    ("agreement", "agreement", "{:.1%}"),
    ("accuracy", "accuracy", "{:.1%}"),
    ("seconds", "conversion_seconds", "{:,.0f}"),
    ("MB", "bytes", "{:,.1f}"),
    ("peak MB", "peak_bytes", "{:,.0f}"),
    ("of it in no file, MB", "peak_own_bytes", "{:,.0f}"),
    ("peak over weights", "peak_ratio", "{:.2f}"),
)
_FACTOR = {"seconds": 1e3, "bytes": 1e-6, "peak_bytes": 1e-6, "peak_own_bytes": 1e-6}
OURS = "attn-runtime"


def markdown(result: Mapping[str, Any]) -> str:
    """All that was measured: where, with which versions, and a table of each row."""
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    lines = [
        f"{result['date']}, {result['machine']}, {result['threads']} threads, medians of {result['rounds']} rounds in turns; "
        f"load of the machine before and after: {result['load'][0]:.1f} and {result['load'][1]:.1f}. {versions}."
    ]
    for name, found in result["rows"].items():
        lines += ["", f"### {name}", "", *table(found)]
        lines += [f"- {text}" for text in verdicts(found["rows"])]
    return "\n".join(lines)


def table(found: Mapping[str, Any]) -> list[str]:
    rows = found["rows"]
    columns = [column for column in COLUMNS if any(column[1] in row for row in rows)]
    lines = [f"| work | runner | {' | '.join(title for title, _, _ in columns)} |", "|---" * (2 + len(columns)) + "|"]
    for row in rows:
        if "problem" in row:
            cells = [f"failed: {row['problem']}", *[""] * (len(columns) - 1)]
        else:
            cells = [shape.format(row[key] * _FACTOR.get(key, 1)) if key in row else "" for _, key, shape in columns]
        computes = f" ({row['computes']})" if row.get("computes") else ""
        lines.append(f"| {row['work']} | {row['runner']}{computes} | {' | '.join(cells)} |")
    lines += [f"| not measured | {name} | {why} |" for name, why in found["missing"].items()]
    return [line.replace("\n", " ") for line in lines]


def verdicts(rows: Sequence[Mapping[str, Any]], least_agreement: float = 0.99) -> list[str]:
    """Of each work, the fastest of ours beside the fastest of each peer: its time over ours, so that over 1 is ours to lead.

    Of classifiers, those count that agree with fp32 in `least_agreement` of the classes; drawn weights of a generator agree in
    few tokens once they are rounded, so all of ours count there, and both agreements are told.
    """
    lines = []
    for work in dict.fromkeys(row["work"] for row in rows):
        here = [row for row in rows if row["work"] == work and "seconds" in row and row.get("ratio")]
        ours = [r for r in here if r["runner"].startswith(OURS) and not r["runner"].startswith(f"{OURS} fp32")]
        if any("error" in row for row in here):
            ours = [row for row in ours if row.get("agreement", 0) >= least_agreement]
        peers = [row for row in here if not row["runner"].startswith(OURS)]
        if not ours:
            continue
        best = min(ours, key=lambda row: row["seconds"])
        told = [f"{row['runner']} {row['seconds'] / best['seconds']:.2f}{_agrees(row)}" for row in peers]
        beside = f"; time of peers over it: {', '.join(told)}" if told else ""
        lines.append(f"{work}: {best['runner']} takes {best['ratio']:.2f} of our fp32{_agrees(best)}{beside}")
    return lines


def _agrees(row: Mapping[str, Any]) -> str:
    return f" (agreement {row['agreement']:.1%})" if "agreement" in row else ""
