"""What was measured, as tables in Markdown, and where they stand in the docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table for each `what`, of rows as Row.told gives them."""
    lines: list[str] = []
    for what in dict.fromkeys(row["what"] for row in rows):
        here = [row for row in rows if row["what"] == what]
        lines += ["", f"### {what}", ""]
        lines += ["| | ours | beside | | unit | ratio | goal | met |", "|---|---|---|---|---|---|---|---|"]
        for row in here:
            peer = "not measured" if row["peer"] is None else _number(row["peer"])
            ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
            goal = "" if row["goal"] is None else f"<= {row['goal']:.2f}"
            met = {True: "yes", False: "no", None: ""}[row["met"]]
            cells = (row["cell"], _number(row["ours"]), row["beside"], peer, row["unit"], ratio, goal, met)
            lines.append(f"| {' | '.join(cells)} |")
        notes = [f"- {cell}: {note}" for cell, note in _notes(here)]
        lines += ["", *notes] if notes else []
    return "\n".join(lines).strip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _notes(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Cells and what is to be known of them; what several have in common once."""
    cells: dict[str, list[str]] = {}
    for row in rows:
        if row["note"]:
            cells.setdefault(row["note"], []).append(row["cell"])
    return [("; ".join(dict.fromkeys(here)), note) for note, here in cells.items()]


def head(result: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(result["versions"].items()))
    return (
        f"{result['date']}, {result['machine']}, medians of {result['rounds']} rounds in turns; load of the machine before and "
        f"after: {result['load'][0]:.1f} and {result['load'][1]:.1f}. {versions}."
    )


def put(page: Path, marker: str, content: str) -> None:
    """Between two comments of the page, which are added at its end where they are not there; what is around them stays."""
    begin, end = f"<!-- {marker}: begin -->", f"<!-- {marker}: end -->"
    text = page.read_text(encoding="utf-8")
    if begin not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n"
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    page.write_text(f"{before}{begin}\n{content}\n{end}{after}", encoding="utf-8")
