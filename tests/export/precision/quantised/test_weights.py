"""Weights of a graph, rounded with what was measured of their inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.precision.quantised import Site, Weights, find_sites
from attn_export.precision.quantised.weights import as_matrix, round_here
from attn_runtime.bundle import write_tensors
from attn_runtime.errors import UsageError
from onnx import numpy_helper

GRAPH = """<ir_version: 10, opset_import: ["": 22]> g (float[n, 64] x, int64[n] i) => (float[n, 40] y, float[n, 64] row) {
    y = MatMul(x, w)  row = Gather(table, i) }"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    model = onnx.parser.parse_model(GRAPH)
    for name, shape in (("w", (64, 40)), ("table", (50, 64))):
        model.graph.initializer.append(numpy_helper.from_array(draw.standard_normal(shape).astype(np.float32), name))
    for number, node in enumerate(model.graph.node):
        node.name = f"node{number}"
    onnx.save(model, tmp_path / "g.onnx")
    return tmp_path / "g.onnx"


def rounded(source: Path, method: str, moments: dict[str, str]) -> tuple[list[Site], Weights]:
    sites = find_sites(onnx.load(source), ["MatMul", "Gather"])
    target = source.with_name(f"{method}.safetensors")
    round_here(str(source), [site.to_json() for site in sites], "int4", 32, method, moments, str(target))
    return sites, Weights.read(target, "int4", 32)


def test_what_was_measured_of_the_inputs_lowers_the_error_of_the_product(source: Path) -> None:
    draw = np.random.default_rng(1)
    x = draw.standard_normal((3000, 64)) @ (draw.standard_normal((64, 64)) * np.geomspace(1, 0.03, 64)[:, None])
    measured = source.with_name("moments.safetensors")
    errors = {}
    w = numpy_helper.to_array(onnx.load(source).graph.initializer[0])
    for method, rows in (("clip", 3000), ("gptq", 3000), ("gptq", 3)):
        moment = (x.T @ x / len(x)).astype(np.float32)
        write_tensors(measured, {"moments": moment, "rows": np.array([rows], np.int64)})
        (product, table), weights = rounded(source, method, {"x": str(measured)})
        errors[method, rows] = np.linalg.norm(x @ (w - weights.of(product).dequantised()))
        stored = numpy_helper.to_array(onnx.load(source).graph.initializer[1])
        moved = weights.of(table).dequantised() - as_matrix(stored, table)
        assert np.linalg.norm(moved) < 0.12 * np.linalg.norm(stored), (
            "a table has no inputs, and is rounded all the same"
        )
    assert errors["gptq", 3000] < 0.7 * errors["clip", 3000]
    assert errors["gptq", 3000] < errors["gptq", 3], "the number of rows is heeded"


def test_a_product_of_which_nothing_was_measured(source: Path) -> None:
    with pytest.raises(UsageError, match="weight w of node node0: gptq needs the second moment of its inputs"):
        rounded(source, "gptq", {})
