"""What a failed check of a graph says that was captured by the example's branches."""

from __future__ import annotations

import pytest
from attn_export.capture.deferred import explained, shown, sizes_to_ask
from attn_export.capture.dropped_guards import Branch
from attn_runtime.errors import AttnError, CaptureError, ParityError
from attn_runtime.spec import Dim, TensorSpec

X = TensorSpec("x", "float32", (Dim("B", 1, 2, 3), Dim("T", 3, 16, 50)))
PLACE = ' at net.py:7: "if T > 20:"'
SHORT = Branch("T <= 20", ({"T": 21}, {"T": 50}), PLACE, ("T",), lambda sizes: sizes["T"] <= 20)
ODD = Branch("(T % 2) != 0", ({"T": 4}, {"T": 50}), "", ("T",), lambda sizes: sizes["T"] % 2 != 0)
NUMBER = Branch("trunc(0.7*T) == 10", ({"T": 3},), PLACE, ("T",), lambda sizes: int(sizes["T"] * 0.7) == 10)
BOTH = Branch("B != T", ({"B": 3, "T": 3},), "", ("B", "T"), lambda sizes: sizes["B"] != sizes["T"])


def told(branches: list[Branch], *wrong: int) -> AttnError:
    problem = ParityError("the capture is not PyTorch's", "a table", [{"B": 1, "T": size} for size in wrong])
    return explained(problem, branches, [X])


def test_the_branch_that_all_failures_take_is_named_with_its_way_out() -> None:
    error = told([ODD, SHORT], 21, 50)
    assert isinstance(error, CaptureError)
    assert str(error) == (
        "dim T was asked to be 3..50 but a graph has one branch for all sizes: it was captured where T <= 20, and elsewhere "
        f"it is not PyTorch's{PLACE} (the capture is not PyTorch's); ask for --dim T=3:16:20, or change that line"
    )


@pytest.mark.parametrize(
    ("branch", "wrong", "says"),
    [
        (ODD, (4, 16), "fix it with --dim T=SIZE, or change the model so that it computes the same for every size"),
        (
            NUMBER,
            (3, 50),
            "write math.trunc or math.floor, or whole numbers (T * 7 // 10); else fix it with --dim T=SIZE",
        ),
    ],
)
def test_where_no_range_is_left(branch: Branch, wrong: tuple[int, ...], says: str) -> None:
    assert says in str(told([branch], *wrong))


def test_of_two_guards_the_narrower_is_blamed() -> None:
    assert "captured where T <= 20" in str(told([NUMBER, SHORT], 30, 40))


@pytest.mark.parametrize("wrong", [(15,), (15, 50)])
def test_a_failure_where_every_guard_holds_is_the_graphs_own(wrong: tuple[int, ...]) -> None:
    error = told([SHORT, ODD], *wrong)
    assert isinstance(error, ParityError)
    assert str(error) == "the capture is not PyTorch's"


def test_guards_on_several_dims_are_not_blamed() -> None:
    assert isinstance(told([BOTH], 3), ParityError)


def test_a_graph_that_does_not_run_says_where_to_look() -> None:
    error = told([SHORT])
    assert isinstance(error, ParityError)
    assert "not every size takes them (T <= 20): look at net.py:7" in str(error)


def test_each_guard_is_asked_first_with_one_size() -> None:
    assert sizes_to_ask([SHORT, ODD, BOTH]) == [{"T": 21}, {"T": 4}, {"B": 3, "T": 3}, {"T": 50}]


def test_many_guards_are_counted() -> None:
    assert shown([NUMBER, ODD, SHORT, BOTH]) == "B != T, T <= 20, (T % 2) != 0 and 1 more"
