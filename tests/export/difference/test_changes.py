"""Two sides of named things: what differs, how it is printed, and names that a terminal would act on."""

from __future__ import annotations

import pytest
from attn_export.difference.answers import Answers
from attn_export.difference.bundle_difference import BundleDifference
from attn_export.difference.changes import Change, Section, section
from attn_export.difference.written import Written, WrittenCase
from attn_export.parity import Check
from attn_runtime.bundle import Case
from attn_runtime.compare import Difference, Worst
from support.checks.foreign_names import HOSTILE, acted_on


def test_what_differs_and_what_is_the_same() -> None:
    found = section("some things", {"a": 1, "b": "x", "c": 3}, {"b": "y", "c": 3, "d": 4})
    assert found.changes == (Change("a", 1, None), Change("b", "x", "y"), Change("d", None, 4))
    assert (found.same, found.key) == (1, "some_things")
    assert list(found.lines()) == [
        "some things: 3 differ, 1 the same", "     A  B", "  a  1  -", "  b  x  y", "  d  -  4",
    ]  # fmt: skip
    assert list(section("none", {"a": 1}, {"a": 1}).lines()) == []


def test_a_long_table_is_cut() -> None:
    found = section("many", {str(n): n for n in range(40)}, {})
    assert len(list(found.lines())) == 19 and list(found.lines())[-1] == "  and 24 more; --json has them all"
    assert len(found.to_json()["differ"]) == 40


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_a_terminal_acts_on(name: str) -> None:
    table = Section(name, (Change(name, name, name, name),), 0, "k")
    worst = Difference(name, 2.0, 1.0, 0.1, False, name, (Worst((0,), 1.0, 3.0, 0.1),))
    checked = Answers((Check(Case(name, {name: 1}, {}, {}), worst, 0.5),), {name: name})
    told = BundleDifference(name, name, (name, name), (table,), (), Written((WrittenCase(name, 2, 1, 5, 0),)))
    for text in (*table.lines(), *checked.lines(), *Answers((), {}, name).lines(), *str(told).split("\n")):
        assert not acted_on(text) and "\n" not in text
    assert len(str(told).split("\n")) == 2 + 3 + 1
