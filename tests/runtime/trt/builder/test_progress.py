"""How far a build is, and when that allows to say how long it will take."""

from __future__ import annotations

import pytest
from attn_runtime.trt.builder.progress import Estimate, fraction_done, seconds_text


@pytest.mark.parametrize(
    ("phases", "fraction"),
    [
        ([], 0.0),
        ([("all", 0, 4)], 0.0),
        ([("all", 1, 4)], 0.25),
        ([("all", 1, 4), ("part", 1, 2)], 0.375),
        ([("all", 1, 4), ("part", 1, 2), ("inner", 5, 10)], 0.4375),
        ([("all", 4, 4), ("late", 1, 2)], 1.0),
        ([("all", 1, 4), ("empty", 0, 0)], 0.25),
    ],
)
def test_a_phase_inside_counts_for_its_part_of_the_step(phases: list[tuple[str, int, int]], fraction: float) -> None:
    assert fraction_done(phases) == pytest.approx(fraction)


def test_no_estimate_before_there_is_something_to_go_by() -> None:
    estimate = Estimate()
    assert estimate.update([("all", 3, 4)], 1.0).remaining is None  # too soon
    assert Estimate().update([("all", 1, 100)], 50.0).remaining is None  # too little


def test_an_even_build_is_told_right() -> None:
    estimate = Estimate()
    told = [estimate.update([("all", second, 100)], float(second)) for second in range(100)]
    assert told[50].remaining == pytest.approx(50, rel=0.05) and told[90].remaining == pytest.approx(10, rel=0.1)


def test_a_step_that_takes_long_is_not_said_to_be_over_soon() -> None:
    estimate = Estimate()
    estimate.update([("all", 8, 10)], 2.0)
    told = [estimate.update([("all", 8, 10)], float(second)).remaining for second in range(3, 60)]
    assert all(remaining is not None and remaining >= second - 2 for second, remaining in enumerate(told, 3))


def test_progress_never_falls() -> None:
    estimate = Estimate()
    assert estimate.update([("all", 2, 4)], 1.0).fraction == 0.5
    assert estimate.update([("other", 0, 4)], 2.0).fraction == 0.5


def test_text() -> None:
    assert [seconds_text(s) for s in (0.42, 9.96, 59, 200, 3900)] == [
        "0.4 s",
        "10 s",
        "59 s",
        "3 min 20 s",
        "1 h 5 min",
    ]
    told = Estimate().update([("all", 2, 4), ("tactics", 0, 9)], 3.0)
    assert str(told) == " 50% tactics (3.0 s, about 3.0 s left)"
