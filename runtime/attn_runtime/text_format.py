"""How results are printed and written as JSON: tables and numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .compare import Difference
from .escape import printable


def worst_table(failures: Sequence[tuple[str, Difference]]) -> str:
    """A table of the worst elements of differences that did not pass, by case."""
    rows = [("case", "output", "index", "expected", "got", "|error|", "allowed")]
    for case, difference in failures:
        if not difference.worst:
            rows.append((case, difference.output, difference.problem, "", "", "", ""))
        for index, expected, got, allowed in difference.worst:
            error = abs(expected - got)
            rows.append(
                (case, difference.output, str(list(index)), f"{expected:.8g}", f"{got:.8g}", f"{error:.3g}",
                 f"{allowed:.3g}")
            )  # fmt: skip
    return columns(rows)


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as left-aligned columns, two spaces apart; the first row is the head. A cell stays one line."""
    rows = [[printable(cell, None) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def difference_to_json(difference: Difference) -> dict[str, Any]:
    """A Difference for a JSON file: no NaN or infinity, which JSON has not, but null. `max_fill` is there where fills are."""
    return {
        "output": difference.output,
        "passed": difference.passed,
        "max_error": finite_or_none(difference.max_error),
        "max_reference": finite_or_none(difference.max_reference),
        "limit": difference.limit,
        **max_fill_entry(difference),
        "problem": difference.problem,
        "worst": [
            {"index": list(index), "expected": finite_or_none(expected), "got": finite_or_none(got), "allowed": allowed}
            for index, expected, got, allowed in difference.worst
        ],
    }


def max_fill_entry(difference: Difference) -> dict[str, float]:
    """{"max_fill": max|fill|}, as manifests and reports have it; empty where the reference holds no fill value."""
    return {} if math.isnan(difference.max_fill) else {"max_fill": difference.max_fill}


def finite_or_none(value: float) -> float | None:
    """NaN and infinity as None, which JSON can hold."""
    return value if math.isfinite(value) else None


def bytes_text(count: float) -> str:
    """1536 -> "1.5 KiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
