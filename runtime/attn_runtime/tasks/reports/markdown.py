"""Markdown, as GitHub and GitLab show it on the page of a run: one table of golden cases, one of generated answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...errors import AttnError
from ...escape import markdown_text

if TYPE_CHECKING:
    from ...compare import Difference
    from ...generate import Replayed
    from .verify_report import CaseResult, VerifyReport

_SIGN = {True: "ok", False: "**FAIL**"}


def markdown_of(found: VerifyReport | AttnError, name: str) -> str:
    """The document, which ends with a line break."""
    title = f"## {markdown_text(name)}: "
    if isinstance(found, AttnError):
        return f"{title}not verified\n\n{markdown_text(str(found), None)}\n"
    cases = [row for case in found.cases for row in _golden(case)]
    answers = [_generated(answer) for answer in found.generation]
    parts = [
        f"{title}{'matches PyTorch' if found.passed else '**does not match PyTorch**'}",
        markdown_text(found.choice, None),
        _table(("", "graph", "case", "output", "max error", "allowed"), cases),
    ]
    if answers:
        parts.append(_table(("", "generated", "rows", "found"), answers))
    parts += [f"Not proven: {markdown_text(note, None)}" for note in found.notes]
    return "\n\n".join(parts) + "\n"


def _golden(case: CaseResult) -> list[Sequence[str]]:
    """Each output that does not match, and of those that do the one nearest to its limit."""
    shown = [d for d in case.differences if not d.passed]
    if matching := [d for d in case.differences if d.passed]:
        shown.append(max(matching, key=lambda d: d.ratio))
    where = markdown_text(case.graph), markdown_text(case.title)
    return [(_SIGN[d.passed], *where, markdown_text(d.output), *_errors(d)) for d in shown]


def _errors(difference: Difference) -> tuple[str, str]:
    if difference.problem:
        return markdown_text(difference.problem), ""
    return f"{difference.max_error:.2g}", f"{difference.limit:.2g}"


def _generated(answer: Replayed) -> Sequence[str]:
    found = answer.problem or ("the same tokens" if answer.same else "other tokens, as good within the error allowed")
    return _SIGN[answer.passed], markdown_text(answer.case), answer.rows, markdown_text(found)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
