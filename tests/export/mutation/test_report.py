"""The score, and how it is told."""

from __future__ import annotations

import json

from attn_export.mutation import Mutant, MutationReport, Result


def result(family: str, verdict: str, difference: float | None = None) -> Result:
    mutant = Mutant(family, "", "n1", "Add", "block.norm", "1e-05 -> 0.001")
    return Result(mutant, verdict, "case max" if difference is None else "x times 0.001", 0.3, difference, 0.25, 5.0)


REPORT = MutationReport(
    "fp32",
    7,
    (
        result("epsilon", "caught"),
        result("epsilon", "equivalent", 0.0),
        result("epsilon", "blind spot", 0.5),
        result("mask", "caught"),
    ),
    redrawn=2,
)


def test_equivalent_mutants_leave_the_count() -> None:
    total = REPORT.total
    assert (total.made, total.caught, total.equivalent, total.blind) == (4, 2, 1, 1)
    assert total.score == 2 / 3
    assert str(total) == "2 of 3 caught (67%), 1 equivalent"


def test_nothing_to_catch_is_no_score() -> None:
    report = MutationReport("fp32", 0, (result("epsilon", "equivalent", 0.0),))
    assert report.total.score is None and str(report.total) == "0 of 0 caught, 1 equivalent"


def test_a_line_for_each_family_and_each_survivor() -> None:
    assert list(REPORT.lines()) == [
        "epsilon       1 of 2 caught (50%), 1 equivalent",
        "mask          1 of 1 caught (100%)",
        "blind spot: epsilon: Add n1 (block.norm): 1e-05 -> 0.001; largest difference 0.5 (2.5e-01 of max|original|) on "
        "x times 0.001",
        "equivalent: epsilon: Add n1 (block.norm): 1e-05 -> 0.001; no input shows a difference",
    ]


def test_json() -> None:
    data = json.loads(json.dumps(REPORT.to_json()))
    assert data["score"] == 2 / 3 and data["redrawn"] == 2 and data["seed"] == 7
    assert data["families"]["mask"] == {"made": 1, "caught": 1, "equivalent": 0, "blind": 0, "score": 1.0}
    assert [s["verdict"] for s in data["survivors"]] == ["blind spot", "equivalent"]
    assert data["survivors"][0]["difference"] == 0.5 and "difference" not in data["mutants"][0]
