"""Tables, bars and cells of a heatmap: what is over is told from what is within."""

from __future__ import annotations

import math

import pytest
from attn_runtime.page import bar, details_list, heat_cell, section, table, verdict
from support.pages.page_tags import PageTags


@pytest.mark.parametrize(
    ("share", "step"), [(0, "h0"), (1e-9, "h1"), (0.01, "h1"), (0.25, "h5"), (1, "h9"), (1.001, "over"), (math.inf, "over"),
                        (math.nan, "over")],
)  # fmt: skip
def test_a_cell_is_as_strong_as_its_share_and_a_failure_is_none_of_the_steps(share: float, step: str) -> None:
    assert f'class="heat {step}"' in heat_cell(share, "x")


@pytest.mark.parametrize(
    ("share", "width", "over"), [(0.375, "37.5", False), (1, "100.0", False), (1.01, "100.0", True), (-1, "0.0", False),
                                 (math.nan, "100.0", True)],
)  # fmt: skip
def test_a_bar_ends_at_the_whole(share: float, width: str, over: bool) -> None:
    drawn = bar(share)
    assert f'width="{width}" height="10"></rect></svg>' in drawn and ('class="over"' in drawn) == over


def test_a_table_has_its_numbers_to_the_right_and_cells_of_a_heatmap_as_they_are() -> None:
    made = table(("a", "b", "c"), [("1", "2", heat_cell(0.5, "50 %"))], numbers=(1,))
    cells = [(tag, dict(attributes).get("class")) for tag, attributes in PageTags(made).tags if tag in ("th", "td")]
    assert cells == [("th", None), ("th", "n"), ("th", None), ("td", None), ("td", "n"), ("td", "heat h7")]


def test_what_has_nothing_in_it_is_not_there() -> None:
    assert table(("a",), []) == section("a") == section("a", None, table(("a",), [])) == details_list([("a", "")]) == ""


def test_a_verdict_that_failed_looks_so() -> None:
    assert 'class="verdict fail"' in verdict("Failed.", False, "why") and 'class="verdict"' in verdict("Passed.", True)
