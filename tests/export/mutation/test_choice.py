"""Which cases to keep: those that notice most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_export.mutation import choose_by_power
from attn_export.mutation.choice import _cover
from attn_runtime.bundle import Case
from attn_runtime.compare import Tolerance
from support.graphs.mutated import graph, run

MASKED = "(float[B, T] x, bool[B, T] m) => (float[B, T] y) { y = Where(m, x, z) }"


def case(name: str, mask: list[bool], x: float = 1.0) -> Case:
    inputs = {"x": np.full((1, len(mask)), x, np.float32), "m": np.array([mask])}
    return Case(name, {"B": 1, "T": len(mask)}, inputs, {})


@pytest.fixture
def net(tmp_path: Path) -> Path:
    return graph(tmp_path / "g.onnx", MASKED, {"z": np.array(0.5, np.float32)})


def test_a_case_that_notices_all_is_enough(net: Path) -> None:
    candidates = [case("all on", [True, True]), case("mixed", [True, False]), case("all off", [False, False])]
    chosen = choose_by_power(net, candidates, Tolerance(), 10)
    assert [c.name for c in chosen.cases] == ["mixed"]
    assert chosen.made == chosen.caught == 3 and chosen.already == 0


def test_two_that_complete_each_other(net: Path) -> None:
    candidates = [case("all on", [True]), case("all off", [False])]
    assert [c.name for c in choose_by_power(net, candidates, Tolerance(), 10).cases] == ["all on", "all off"]


def test_no_more_than_asked(net: Path) -> None:
    candidates = [case("all on", [True]), case("all off", [False])]
    chosen = choose_by_power(net, candidates, Tolerance(), 10, most=1)
    assert len(chosen.cases) == 1 and chosen.caught < chosen.made


def test_what_nothing_notices_is_named(net: Path) -> None:
    chosen = choose_by_power(net, [case("all on", [True])], Tolerance(), 10, name="first")
    assert len(chosen.missed) == chosen.made - chosen.caught > 0
    assert {m.graph for m in chosen.missed} == {"first"} and "always True" in " ".join(m.what for m in chosen.missed)
    assert not choose_by_power(net, [case("mixed", [True, False])], Tolerance(), 10).missed


def test_what_is_kept_anyway_needs_no_candidate(net: Path) -> None:
    chosen = choose_by_power(net, [case("mixed", [True, False])], Tolerance(), 10, kept=[case("same", [True, False])])
    assert not chosen.cases and chosen.already == chosen.made == chosen.caught == 3


def test_answers_that_are_there_are_the_reference(net: Path) -> None:
    """PyTorch's, which the graph itself does not give here: everything is noticed."""
    one = case("mixed", [True, False], x=0.5)
    assert np.ptp(run(net, **one.inputs)) == 0
    blind = choose_by_power(net, [one], Tolerance(), 10)
    assert not blind.cases and blind.caught == 0
    other = Case(one.name, one.sizes, one.inputs, {"y": np.ones((1, 2), np.float32)})
    assert len(choose_by_power(net, [other], Tolerance(), 10).cases) == 1


def test_the_seed_decides_and_no_time_is_no_mutant(net: Path) -> None:
    candidates = [case("mixed", [True, False])]
    assert choose_by_power(net, candidates, Tolerance(), 2) == choose_by_power(net, candidates, Tolerance(), 2)
    assert choose_by_power(net, candidates, Tolerance(), 2, seconds=-1).made == 0


def test_the_cover_is_greedy() -> None:
    kills = [frozenset({0}), frozenset({0, 1}), frozenset({1}), frozenset({1, 2}), frozenset()]
    assert _cover(kills, 3, None) == [1, 0]
    assert _cover(kills, 3, 1) == [1]
