"""What a graph and its answers tell of a proof that is weak."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from attn_export.mutation import Mutant
from attn_export.mutation.weak_proof import initial_values, notes, shut_gates, spread
from attn_export.onnx_graph import load
from support.graphs.mutated import graph

GATED = """(float[B, 4] x) => (float[B, 4] y) {
    a = MatMul(x, w) b = Relu(a) c = Mul(b, gate) d = MatMul(x, v) e = Add(c, d) y = Add(e, x)
}"""
W = np.arange(16, dtype=np.float32).reshape(4, 4)


@pytest.mark.parametrize(("gate", "behind", "gates"), [(0, {"MatMul_0", "Relu_1"}, ["gate"]), (1, set(), [])])
def test_what_reaches_the_outputs_through_a_product_with_zeros_alone(
    tmp_path: Path, gate: float, behind: set[str], gates: list[str]
) -> None:
    file = graph(tmp_path / "g.onnx", GATED, {"w": W, "v": W, "gate": np.array([gate], np.float32)})
    assert shut_gates(load(file)) == (behind, gates)


def test_a_second_way_round_the_gate_counts(tmp_path: Path) -> None:
    text = "(float[B, 4] x) => (float[B, 4] y) { a = Relu(x) b = Mul(a, g) y = Add(a, b) }"
    file = graph(tmp_path / "g.onnx", text, {"g": np.zeros(1, np.float32)})
    assert shut_gates(load(file)) == (set(), ["g"])


def test_weights_before_training(tmp_path: Path) -> None:
    text = "(float[B, 4] x) => (float[B, 4] y) { a = MatMul(x, w) b = Add(a, c) y = Mul(b, s) }"
    weights = {"w": W, "c": np.zeros(4, np.float32), "s": np.ones(4, np.float32)}
    assert initial_values([load(graph(tmp_path / "g.onnx", text, weights))]) == (2, 3)


def test_the_reasons_of_a_low_score(tmp_path: Path) -> None:
    gated = load(graph(tmp_path / "g.onnx", GATED, {"w": W, "v": W, "gate": np.zeros(2, np.float32)}))
    behind = Mutant("weight", "a", "MatMul_0", "MatMul", "", "w: negated")
    seen = Mutant("weight", "a", "MatMul_3", "MatMul", "", "v: negated")
    said = list(notes({"kind": "builtin"}, {"a": gated}, [behind, seen], [], "changes that no case notices"))
    assert (
        said[0] == "gate is all 0: what it multiplies takes no part, and 1 changes that no case notices lie behind it"
    )
    assert said[1].startswith("the weights are random") and said[2].startswith("1 of 3 weights and biases")
    plain = load(graph(tmp_path / "p.onnx", "(float[B, 4] x) => (float[B, 4] y) { y = MatMul(x, w) }", {"w": W}))
    assert not list(notes({"kind": "builtin", "checkpoint": "w"}, {"a": plain}, [seen], []))


def test_outputs_that_hardly_move() -> None:
    base = np.array([1.0, 2.0])
    assert spread([{"y": base}, {"y": base + 0.01}]) == pytest.approx(0.005)
    assert spread([{"y": base}]) is None
    assert spread([{"y": base}, {"y": np.zeros(3)}]) is None
