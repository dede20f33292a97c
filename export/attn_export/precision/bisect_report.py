"""A bisection for people: the table of the error along the graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attn_runtime.escape import printable
from attn_runtime.text_format import columns

from .half import TypedGraph
from .layerwise import Bisection, Step, short

#: Rows of the table; --json has every tensor.
MAX_ROWS = 32


@dataclass(frozen=True)
class Bisected:
    """A bisection of what the user named. `precision` is the other graph's; `mended` was written in its place, if asked.

    `holds` says whether the answers of the other graph are within its tolerance, so that what stands out does no harm.
    As a string it is the first node at fault in a sentence, and a table of the error along the graph.
    """

    reference: str
    against: str
    precision: str
    cases: tuple[str, ...]
    bisection: Bisection
    holds: bool = False
    mended: TypedGraph | None = None

    @property
    def culprit(self) -> Step | None:
        """The step at fault; None where nothing was lost and the answers hold."""
        return None if self.holds and self.bisection.how != "overflow" else self.bisection.first

    def __str__(self) -> str:
        return "\n".join(_report_lines(self))

    def to_json(self) -> dict[str, Any]:
        return {
            "reference": self.reference,
            "against": self.against,
            "precision": self.precision,
            "cases": list(self.cases),
            "holds": self.holds,
            **self.bisection.to_json(),
            "mended": None if self.mended is None else self.mended.to_json(),
        }


def _report_lines(done: Bisected) -> list[str]:
    bisection = done.bisection
    lines = []
    if bisection.first is None:
        lines.append(printable(f"{done.reference} and {done.against} do not part anywhere", None))
    else:
        first = bisection.first
        where = f", {first.source}" if first.source else ""
        opens = "no node stands out; the error grows most" if bisection.how == "creep" else "parts first"
        if done.culprit is None and bisection.how != "creep":
            opens = "the answers hold; parts first"
        lines.append(
            f"{opens} at {printable(first.label)}: node {printable(first.node)} ({printable(first.operator)}{printable(where)}), "
            f'case "{printable(first.case)}": {first.reason(bisection.limit)}'
        )
    rows = [("", "node", "operator", "module", "max|fp32|", "error / max", "x its inputs'")]
    for step in _shown(bisection):
        mark = ">" if step is done.culprit else ""
        error = f"{step.lost} lost" if step.lost else f"{step.relative:.1e}"
        rows.append(
            (mark, printable(step.node, 40), step.operator, printable(step.module, 40), short(step.largest), error,
             "" if step.lost else f"{step.growth:.1f}")
        )  # fmt: skip
    if len(rows) - 1 < len(bisection.steps):
        lines.append(f"{len(rows) - 1} of {len(bisection.steps)} tensors, where the error grows; --json has them all")
    return [*lines, columns(rows)]


def _shown(bisection: Bisection) -> list[Step]:
    """The first step at fault, the last one, and those where the error grows most; in the graph's order."""
    if len(bisection.steps) <= MAX_ROWS:
        return list(bisection.steps)
    ranked = sorted(
        bisection.steps,
        key=lambda s: (s is not bisection.first, s is not bisection.steps[-1], not s.overflow, -s.growth),
    )
    chosen = {id(s) for s in ranked[:MAX_ROWS]}
    return [s for s in bisection.steps if id(s) in chosen]
