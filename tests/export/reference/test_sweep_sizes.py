"""Which sizes between the corners are asked: all where they are cheap, the likeliest where they are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attn_export.reference import sweep_sizes
from attn_export.reference.shape_cases import corner_cases
from attn_export.reference.sweep_sizes import MOST_CASES, SweepPlan, cost_of, plan_sweep
from attn_runtime.spec import Dim, TensorSpec

B, T = Dim("B", 1, 2, 8), Dim("T", 3, 16, 120)
INPUTS = (TensorSpec("x", "float32", (B, T, Dim.fixed(16))),)


def free(sizes: dict[str, int]) -> float:
    return 0.0


def planned(
    inputs: tuple[TensorSpec, ...] = INPUTS, cost: Callable[[dict[str, int]], float] = free, budget: float | None = None
) -> SweepPlan:
    return plan_sweep(inputs, [c.sizes for c in corner_cases(inputs)], 0, cost, budget)


def asked(plan: SweepPlan, name: str) -> set[int]:
    return {sizes[name] for sizes in plan.sizes} | {c.sizes[name] for c in corner_cases(INPUTS)}


def test_every_size_of_every_dim_where_they_are_cheap() -> None:
    plan = planned()
    assert asked(plan, "B") == set(range(1, 9)) and asked(plan, "T") == set(range(3, 121))
    assert plan.complete == ("B", "T")
    assert all(B.min <= s["B"] <= B.max and T.min <= s["T"] <= T.max for s in plan.sizes)


@pytest.mark.parametrize("seed", range(20))
def test_two_dims_are_equal_once_and_one_apart_once(seed: int) -> None:
    sizes = plan_sweep(INPUTS, [], seed, lambda _: 1.0, 12).sizes
    assert len(sizes) == 12
    assert any(s["B"] == s["T"] for s in sizes[:1]) and any(s["B"] + 1 == s["T"] for s in sizes[1:2])


def test_three_dims_are_equal_in_every_pair() -> None:
    names = ("a", "b", "c")
    inputs = tuple(TensorSpec(n, "float32", (Dim(n, 2, 10, 50),)) for n in names)
    sizes = plan_sweep(inputs, [], 0, lambda _: 1.0, 6).sizes
    for first, second in (("a", "b"), ("a", "c"), ("b", "c")):
        assert any(s[first] == s[second] for s in sizes) and any(s[first] + 1 == s[second] for s in sizes)


def test_the_likeliest_where_all_would_cost_too_much() -> None:
    inputs = (TensorSpec("x", "float32", (Dim("T", 1, 128, 1 << 20), Dim.fixed(48))),)
    plan = planned(inputs)
    found = {s["T"] for s in plan.sizes}
    assert len(plan.sizes) < 100 and plan.complete == ()
    for power in (8, 64, 1024, 65536):
        assert {power - 1, power, power + 1} <= found
    assert 48 in found, "the size of a fixed axis"
    drawn = {n for n in found if n & (n - 1) and (n - 1) & (n - 2) and (n + 1) & n and n != 48}
    assert {n + 1 for n in drawn} & found, "sizes that differ by one"


def test_a_budget_is_kept_and_zero_asks_nothing() -> None:
    assert len(planned(cost=lambda _: 1.0, budget=7).sizes) == 7
    assert planned(budget=0).sizes == ()
    assert len(planned(cost=lambda _: 0.5, budget=1000).sizes) > 100, "what the user grants is used"


def test_a_model_of_long_cases_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_sizes, "DEFAULT_SECONDS", 20.0)
    monkeypatch.setattr(sweep_sizes, "HEAVY_SECONDS", 5.0)
    plan = planned(cost=lambda _: 1.0)
    assert len(plan.sizes) == 5 and plan.limit == 5


def test_corners_are_not_asked_again_and_nothing_twice() -> None:
    plan = planned()
    keys = [tuple(sorted(s.items())) for s in plan.sizes]
    assert len(set(keys)) == len(keys)
    assert not set(keys) & {tuple(sorted(c.sizes.items())) for c in corner_cases(INPUTS)}


def test_a_model_of_fixed_sizes_has_nothing_between() -> None:
    assert planned((TensorSpec("x", "float32", (Dim.fixed(3), Dim("T", 5, 5, 5))),)).sizes == ()


def test_ranges_too_long_to_list_are_not_listed() -> None:
    inputs = (TensorSpec("x", "float32", (Dim("T", 1, 2, MOST_CASES + 1),)),)
    assert len(planned(inputs).sizes) < 200


def test_the_same_seed_gives_the_same_sizes() -> None:
    assert planned() == planned()
    assert plan_sweep(INPUTS, [], 1, free).sizes != plan_sweep(INPUTS, [], 2, free).sizes


def test_cost_lies_between_what_was_measured() -> None:
    cost = cost_of(INPUTS, {16: 0.1, 160: 1.0, 32: 0.05})
    assert cost({"B": 1, "T": 10}) == pytest.approx(3.0, abs=0.01), "PyTorch and two graphs"
    assert cost({"B": 1, "T": 2}) == pytest.approx(0.3, abs=0.01), "a larger case never counts as quicker"
