"""All that two bundles differ in, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from attn_runtime.errors import DifferenceError
from attn_runtime.escape import printable

from .answers import Answers
from .changes import Section
from .recorded_errors import RecordedErrors
from .written import Written


@dataclass(frozen=True)
class GraphDifference:
    """One graph that both have. `operators` has for A and for B how many nodes of each operator there are."""

    name: str
    precisions: tuple[str, str]
    sections: tuple[Section, ...]
    operators: tuple[Mapping[str, int], Mapping[str, int]]
    recorded: RecordedErrors
    answers: Answers

    @property
    def same(self) -> bool:
        return self.answers.exact and not any(section.changes for section in self.sections)

    def to_json(self) -> dict[str, Any]:
        return {
            "graph": self.name,
            "precisions": dict(zip("ab", self.precisions, strict=True)),
            "sections": {section.key: section.to_json() for section in self.sections},
            "nodes": dict(zip("ab", map(dict, self.operators), strict=True)),
            "recorded": self.recorded.to_json(),
            "answers": self.answers.to_json(),
        }


@dataclass(frozen=True)
class BundleDifference:
    """Two bundles, or two precisions of one. As a string it is what differs, in tables; what is the same is counted.

    a, b       what they are called: the folder, and the precision that is compared
    made       when each of them was exported
    sections   what is told of the whole
    graphs     those that both have
    written    what generators write
    """

    a: str
    b: str
    made: tuple[str, str]
    sections: tuple[Section, ...]
    graphs: tuple[GraphDifference, ...]
    written: Written

    @property
    def agree(self) -> bool:
        """Whether all answers were compared, and are equal within the tolerance."""
        lone = next((section.changes for section in self.sections if section.name == "graphs"), ())
        return not lone and self.written.agree and all(graph.answers.agree for graph in self.graphs)

    @property
    def same(self) -> bool:
        """Whether nothing differs at all."""
        told = any(section.changes for section in self.sections)
        return self.agree and not told and all(graph.same for graph in self.graphs)

    def require(self) -> None:
        """DifferenceError unless the answers agree."""
        if not self.agree:
            raise DifferenceError(f"{self.a} and {self.b}: {_why(self)}")

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def to_json(self) -> dict[str, Any]:
        return {
            "a": self.a,
            "b": self.b,
            "made": dict(zip("ab", self.made, strict=True)),
            "same": self.same,
            "agree": self.agree,
            "sections": {section.key: section.to_json() for section in self.sections},
            "graphs": [graph.to_json() for graph in self.graphs],
            "generated": self.written.to_json(),
        }


def _lines(found: BundleDifference) -> Iterator[str]:
    for side, name, made in zip("AB", (found.a, found.b), found.made, strict=True):
        yield f"{side}: {printable(name)}, made {printable(made)}"
    if found.same:
        yield "no differences"
        return
    for section in found.sections:
        yield from section.lines()
    for graph in found.graphs:
        if graph.same:
            yield f"graph {printable(graph.name)}: no differences"
            continue
        yield ""
        yield f"graph {printable(graph.name)}"
        for section in graph.sections:
            yield from section.lines()
        yield from graph.answers.lines()
    yield from found.written.lines()


def _why(found: BundleDifference) -> str:
    """The first thing because of which the answers do not agree."""
    for graph in found.graphs:
        where = f"graph {graph.name}: " if len(found.graphs) > 1 else ""
        if graph.answers.why_not:
            return f"{where}their answers can't be compared: {graph.answers.why_not}"
        if not graph.answers.agree:
            worst = graph.answers.worst
            assert worst is not None  # some check did not pass
            own = worst.difference
            what = own.problem or f"error {own.max_error:.3g} at max|A| {own.max_reference:.3g}, limit {own.limit:.3g}"
            return f'{where}their answers differ, output "{own.output}" at case "{worst.case.name}": {what}'
    if found.written.why_not:
        return f"what they write can't be compared: {found.written.why_not}"
    for case in found.written.cases:
        if not case.agree:
            return f'they write other tokens, case "{case.case}": {case.same} of {case.rows} rows are the same'
    return "they have not the same graphs"
