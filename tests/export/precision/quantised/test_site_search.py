"""What must be left for the answers to hold, on graphs where one site is the culprit."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from attn_export.parity import ReferenceSet
from attn_export.precision.quantised import site_search
from attn_export.precision.quantised.site_search import Aim, Measured, Point, search, search_here
from attn_runtime.bundle import Case, write_tensors
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from hypothesis import given
from hypothesis import strategies as st
from support.quantised.products import Array, Rounded, drawn, model, node, ran, rounded

K, N, MANY = 64, 16, 6
BAD = "s3"


def spoilt(w: Array, by: float = 400.0) -> Array:
    """With numbers in the first row that take the scale of each column, and that no input ever meets."""
    w = w.copy()
    w[0] = by
    return w


def parallel(bad: Sequence[str] = (BAD,), last: str = "Identity") -> onnx.ModelProto:
    """y = x @ s0 + x @ s1 + ..., where x[:, 0] is 0; those in `bad` don't survive int8."""
    names = [f"s{n}" for n in range(MANY)]
    weights = {name: drawn(K, N, seed=n) / 8 for n, name in enumerate(names)}
    weights = {name: spoilt(w) if name in bad else w for name, w in weights.items()}
    nodes = [node("MatMul", ["x", name], f"{name}y") for name in names]
    nodes += [node("Sum", [f"{name}y" for name in names], "sum"), node(last, ["sum"], "y")]
    return model(nodes, {"x": ["B", K]}, ["y"], weights)


def case(made: Rounded, number: int, x: Array) -> list[str]:
    paths = [made.source.with_name(f"{number}.{kind}.safetensors") for kind in ("in", "out")]
    write_tensors(paths[0], {"x": x})
    write_tensors(paths[1], ran(made.source, x=x))
    return [f"case{number}", *map(str, paths)]


def inputs(seed: int, rows: int = 5) -> Array:
    x = drawn(rows, K, seed=seed)
    x[:, 0] = 0
    return x


def searched(made: Rounded, aim: Aim, xs: Sequence[Array] = (), budget: float = 60.0) -> dict[str, Any]:
    cases = [case(made, n, x) for n, x in enumerate(xs or [inputs(7), inputs(8, 2)])]
    found = search_here(
        str(made.source), [s.to_json() for s in made.sites], made.scheme.weights, made.scheme.activations, str(made.file),
        made.scheme.block, {"x": 2.0**-5}, cases, aim.to_json(), budget,
    )  # fmt: skip
    json.dumps(found["points"], allow_nan=False)
    return found


def within(rtol: float, agreement: float | None = None) -> Aim:
    return Aim(Tolerance(rtol=rtol), agreement, ("y",))


def left(found: dict[str, Any]) -> list[str] | None:
    return None if found["chosen"] is None else list(found["points"][found["chosen"]][0])


@pytest.mark.parametrize("name", ["int8-weights", "int8-dynamic", "int8"])
def test_the_one_site_that_spoils_the_answers_is_left_and_named_first(name: str, tmp_path: Path) -> None:
    found = searched(rounded(parallel(), name, tmp_path), within(5e-2))
    assert left(found) == [f"node {BAD}y"]
    alone = list(found["alone"].items())
    assert len(alone) == MANY and alone[0][0] == f"node {BAD}y" and alone[0][1] > 1 > alone[1][1]


def test_nothing_is_left_where_all_of_it_holds(tmp_path: Path) -> None:
    found = searched(rounded(parallel(()), "int8-weights", tmp_path), within(5e-2))
    assert left(found) == [] and found["points"][0][1] <= 1


def test_where_nothing_holds_nothing_is_chosen_and_the_front_says_how_near_it_comes(tmp_path: Path) -> None:
    found = searched(rounded(parallel(), "int8-weights", tmp_path), within(1e-9))
    assert left(found) is None
    assert min(point[1] for point in found["points"]) > 1


@pytest.mark.parametrize("bad", [(), ("s0",)])
def test_a_single_site_is_quantised_or_nothing_is(bad: tuple[str, ...], tmp_path: Path) -> None:
    weight = spoilt(drawn(K, N)) if bad else drawn(K, N)
    made = rounded(
        model([node("MatMul", ["x", "w"], "y")], {"x": ["B", K]}, ["y"], {"w": weight}), "int8-weights", tmp_path
    )
    found = searched(made, within(5e-2))
    assert left(found) == (None if bad else []) and len(found["points"]) == 1


def test_all_that_spoil_are_left_and_what_was_left_with_them_is_tried_again(tmp_path: Path) -> None:
    bad = ("s1", "s3", "s4")
    found = searched(rounded(parallel(bad), "int8-weights", tmp_path), within(5e-2))
    assert left(found) == [f"node {name}y" for name in bad]
    assert [*found["alone"]][:3] == sorted(found["alone"], key=lambda n: -found["alone"][n])[:3]


def test_two_that_make_up_for_each_other_are_quantised_after_all(tmp_path: Path) -> None:
    """x @ s0 - x @ s0, each of them worst alone, beside two that are bad indeed."""
    weights = {"s0": spoilt(drawn(K, N) / 2, 800), "s1": spoilt(drawn(K, N) / 2, 800), "s2": spoilt(drawn(K, N, seed=2) / 8, 200),
               "s3": spoilt(drawn(K, N, seed=3) / 8, 200), "s4": drawn(K, N, seed=4) / 8}  # fmt: skip
    nodes = [node("MatMul", ["x", name], f"{name}y") for name in weights]
    nodes += [node("Sub", ["s0y", "s1y"], "none"), node("Sum", ["none", "s2y", "s3y", "s4y"], "y")]
    made = rounded(model(nodes, {"x": ["B", K]}, ["y"], weights), "int8-weights", tmp_path)
    found = searched(made, within(5e-2))
    assert {*[*found["alone"]][:2]} == {"node s0y", "node s1y"}
    assert left(found) == ["node s2y", "node s3y"]


def test_errors_that_only_hide_each_other_are_found_among_the_left() -> None:
    """The order by each alone is 0..5, and what counts is 4: a prefix of five is needed, of which one stays."""

    def at(left: frozenset[int]) -> Measured:
        return Measured(0.5 if 4 in left else 2.0, 0.0, None, 0)

    def holds(found: Measured) -> bool:
        return found.ratio <= 1

    order = list(range(6))
    fewest = site_search._fewest(order, at, holds)
    assert fewest == frozenset(range(5))
    assert site_search._tried_again(fewest, order, at, holds) == {4}


def test_agreement_is_an_aim_of_its_own(tmp_path: Path) -> None:
    """Errors far within the limit, and rows that are another class: two columns that differ by less than int8 tells."""
    w = drawn(K, N, seed=1) / 8
    w[:, 1] = w[:, 0] + 0.002 * drawn(K, seed=2)
    w[:, :2] += 1
    other = drawn(K, N, seed=3) / 800
    nodes = [node("MatMul", ["x", "s0"], "a"), node("MatMul", ["x", "s1"], "b"), node("Add", ["a", "b"], "y")]
    made = rounded(model(nodes, {"x": ["B", K]}, ["y"], {"s0": w, "s1": other}), "int8-weights", tmp_path)
    xs = [np.abs(inputs(7, 200))]
    assert left(searched(made, within(5e-2), xs)) == []
    found = searched(made, within(5e-2, 0.97), xs)
    assert left(found) == ["node a"]
    points = {tuple(point[0]): point[3] for point in found["points"]}
    assert points["node a",] >= 0.97 > points[()]
    assert left(searched(made, Aim(Tolerance(rtol=5e-2), 0.97, ("other",)), xs)) is None, "nothing has a class"


def test_agreement_counts_rows_and_not_cases(tmp_path: Path) -> None:
    made = rounded(parallel(), "int8-weights", tmp_path)
    full = searched(made, within(1e-9), [inputs(7, 1), inputs(8, 9)])["points"][0]
    assert full[0] == [] and full[3] is not None
    assert full[3] * 10 == pytest.approx(round(full[3] * 10)) and 0 < full[3] < 1
    one, nine = (searched(made, within(1e-9), [x])["points"][0][3] for x in (inputs(7, 1), inputs(8, 9)))
    assert full[3] == pytest.approx((one + 9 * nine) / 10)


def test_sites_alone_are_measured_at_the_case_where_all_together_are_furthest_off(tmp_path: Path) -> None:
    made = rounded(parallel(("s1",)), "int8-weights", tmp_path)
    mild, harsh = inputs(7), inputs(8)
    mild[:, 0], harsh[:, 0] = 1, 0  # the spoilt row meets the first, and its large answers hide the error
    for order in ([mild, harsh], [harsh, mild]):
        alone = searched(made, within(5e-2), order)["alone"]
        assert alone["node s1y"] == pytest.approx(searched(made, within(5e-2), [harsh])["alone"]["node s1y"])


def test_a_slow_graph_has_neighbours_measured_together(tmp_path: Path) -> None:
    alone = searched(rounded(parallel(), "int8-weights", tmp_path), within(5e-2), budget=1e-9)["alone"]
    assert len(alone) == MANY and len(set(alone.values())) == 1


def test_answers_that_are_not_finite_are_no_point(tmp_path: Path) -> None:
    """4 * 16 becomes 6 * 16, and exp of 1.3 times as much is beyond float32."""
    w = spoilt(np.full((K, N), 64 / 16, np.float32), 6 * 127)
    weights = {"s0": w, "s1": drawn(K, N) / 800, "s2": drawn(K, N, seed=2) / 800}
    nodes = [node("MatMul", ["x", name], f"{name}y") for name in weights]
    nodes += [
        node("Sum", [f"{name}y" for name in weights], "sum"),
        node("Mul", ["sum", "more"], "m"),
        node("Exp", ["m"], "y"),
    ]
    source = model(nodes, {"x": ["B", K]}, ["y"], {**weights, "more": np.float32(1.3)})
    made = rounded(source, "int8-weights", tmp_path)
    x = np.zeros((2, K), np.float32)
    x[:, 1:17] = 1
    found = searched(made, within(0.5), [x])
    assert math.isfinite(float(ran(source, x=x)["y"].max()))
    assert math.isinf(found["alone"]["node s0y"])
    assert left(found) == ["node s0y"] and [] not in [point[0] for point in found["points"]]


@given(st.lists(st.tuples(st.sets(st.integers(0, 5)), st.integers(0, 9)), min_size=1, unique_by=lambda p: tuple(p[0])))
def test_a_front_has_no_point_that_another_is_as_good_as(drawn_points: list[tuple[set[int], int]]) -> None:
    points = [(frozenset(some), Measured(float(ratio), 0.0, None, 0)) for some, ratio in drawn_points]
    front = site_search._front(points, None)
    for (fewer, worse), (more, better) in pairwise(front):
        assert len(fewer) < len(more) and worse.ratio > better.ratio
    for some, found in points:
        assert any(len(other) <= len(some) and m.ratio <= found.ratio for other, m in front)
        assert some in [other for other, _ in site_search._front(points, some)]


def test_the_front_of_a_search_is_sorted_and_holds_the_chosen(tmp_path: Path) -> None:
    found = searched(rounded(parallel(("s1", "s4")), "int8-weights", tmp_path), within(5e-2))
    sizes, ratios = [len(p[0]) for p in found["points"]], [p[1] for p in found["points"]]
    assert sizes == sorted(set(sizes)) and ratios == sorted(set(ratios), reverse=True)
    assert sizes[0] == 0 and left(found) == ["node s1y", "node s4y"] and len(sizes) >= 3


def test_in_a_child_process_with_weights_in_a_file_beside_the_graph(tmp_path: Path) -> None:
    onnx.save(parallel(), tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    made = rounded(tmp_path / "m.onnx", "int8-weights", tmp_path)
    name, given_, answers = case(made, 0, inputs(7))
    record = ReferenceSet((Case(name, {}, Path(given_), Path(answers)),), "PyTorch")
    with ChildProcess(60) as isolated:
        found = search(made.source, made.sites, "int8", "float", made.file, None, {}, record, within(5e-2), isolated)
    assert found.chosen is not None and found.chosen.left == (f"node {BAD}y",) and found.chosen.holds(None)
    assert next(iter(found.alone)) == f"node {BAD}y" and found.chosen not in found.front and found.front[0].left == ()


@pytest.mark.parametrize(
    ("ratio", "agreement", "least", "holds"),
    [
        (1.0, None, None, True),
        (1.01, 1.0, None, False),
        (0.5, 0.9, 0.9, True),
        (0.5, 0.89, 0.9, False),
        (0.5, None, 0.9, False),
    ],
)
def test_a_point_holds_by_its_error_and_its_agreement(
    ratio: float, agreement: float | None, least: float | None, holds: bool
) -> None:
    assert Point((), ratio, 0.0, agreement).holds(least) == holds
