"""Which products feed a logarithm, and that they are left where activations are rounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from attn_export.precision.quantised.logarithms import before_logarithms
from attn_export.precision.quantised.sites import find_sites
from support.quantised.products import drawn, model, node

K, N = 48, 32
POWER = [node("MatMul", ["x", "w"], "y"), node("Mul", ["y", "y"], "p")]


def fed(nodes: list[onnx.NodeProto], weights: dict[str, Any] | None = None) -> set[str]:
    """The weights of the products before a logarithm."""
    weights = {"w": drawn(K, N)} if weights is None else weights
    made = model(nodes, {"x": ["B", K]}, [nodes[-1].output[0]], weights)
    sites = find_sites(made, ("MatMul", "Gemm", "Conv"))
    nodes_found = before_logarithms(made, sites)
    return {site.weight for site in sites if site.node in nodes_found}


def test_a_power_spectrum_is_found_and_what_filters_it() -> None:
    filters = {"w": drawn(K, N), "mel": drawn(N, 40)}
    assert fed([*POWER, node("MatMul", ["p", "mel"], "m"), node("Log", ["m"], "l")], filters) == {"w", "mel"}


@pytest.mark.parametrize("ending", ["Relu", "Softmax", "Sigmoid", "Exp"])
def test_what_brings_values_into_a_range_of_its_own_ends_the_way(ending: str) -> None:
    assert fed([*POWER, node(ending, ["p"], "r"), node("Log", ["r"], "l")]) == set()


def test_what_comes_behind_the_logarithm_or_beside_it_is_quantised() -> None:
    weights = {"w": drawn(K, N), "v": drawn(N, 40), "u": drawn(K, 40)}
    behind = [*POWER, node("Log", ["p"], "l"), node("MatMul", ["l", "v"], "z")]
    assert fed([*behind, node("MatMul", ["x", "u"], "s"), node("Add", ["z", "s"], "o")], weights) == {"w"}


def test_a_graph_without_a_logarithm_has_none() -> None:
    assert fed(POWER) == set()


@pytest.fixture(scope="module")
def power_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A front end that holds nearly all weights, a logarithm, and a head."""
    nodes = [*POWER, node("Add", ["p", "one"], "q"), node("Log", ["q"], "l"), node("MatMul", ["l", "v"], "z")]
    weights = {"w": drawn(K, 64), "v": drawn(64, 32), "one": drawn(1) * 0 + 1}
    path = tmp_path_factory.mktemp("power") / "power.onnx"
    onnx.save(model(nodes, {"x": ["B", K]}, ["z"], weights), path)
    return path


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize(("precision", "left"), [("int8", True), ("int8-dynamic", True), ("int8-weights", False)])
def test_it_is_left_with_the_reason_and_does_not_count_as_too_much(
    power_file: Path, tmp_path: Path, precision: str, left: bool
) -> None:
    """The product in front of the logarithm has 60 % of the weights; more than half left is refused elsewhere."""
    from attn_export.precision import convert

    (made,) = convert(
        power_file, precision, output=tmp_path / "out.onnx", inputs=[f"x:float32[B,{K}]"], dims=["B=1:4:8"]
    )
    rows = (made.quantised or {})["left"]
    assert [row["reason"] for row in rows] == ["it feeds a logarithm, which shows the rounding of small values"] * left
    assert (made.quantised or {})["quantised"] == 2 - left
