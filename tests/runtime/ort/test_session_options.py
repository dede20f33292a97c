"""float16 graphs on the CPU: run in a process of their own, for ONNX Runtime ends it where we don't prevent that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from attn_runtime.session import open_session
from onnx import TensorProto, helper, numpy_helper
from support.graphs.half_graphs import half_norm, half_norm_answer, half_transpose

RUN = """
import numpy, sys
from attn_runtime.session import open_session
with open_session(sys.argv[1], "cpu") as session:
    print(session.run({"x": numpy.ones((2, 3, 4), "float16")})["y"].sum())
"""


def test_a_transpose_before_a_matmul_in_float16_runs(tmp_path: Path) -> None:
    file = tmp_path / "half.onnx"
    half_transpose(file)
    ran = subprocess.run([sys.executable, "-c", RUN, str(file)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "120.0"), ran.stderr[-500:]


def test_a_small_epsilon_in_float16_is_the_graphs_own(tmp_path: Path) -> None:
    """ONNX Runtime's fusion of two RMSNorms that share it would make it 1e-5, as large as the mean squares here."""
    file = tmp_path / "half.onnx"
    half_norm(file)
    x16 = np.full((1, 8), 0.06, np.float16)
    with open_session(file, "cpu") as session:
        np.testing.assert_allclose(session.run({"x": x16})["b.z"], half_norm_answer(x16)["b.z"], rtol=0.02)


def dequantised_product(file: Path) -> np.ndarray:
    """x [rows, 64] times a weight of int8 in blocks of 32, dequantised in the graph; the weight as numbers."""
    rng = np.random.default_rng(0)
    q, scale = rng.integers(-127, 128, (64, 48), np.int8), rng.uniform(0.01, 0.02, (2, 48)).astype(np.float32)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "scale"], ["w"], axis=0, block_size=32),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", size])]
        for name, size in (("x", 64), ("y", 48))
    ]
    weights = [numpy_helper.from_array(q, "q"), numpy_helper.from_array(scale, "scale")]
    graph = helper.make_graph(nodes, "g", *ends, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), file)
    return q * np.repeat(scale, 32, axis=0)


def test_a_dequantised_weight_is_multiplied_with_what_comes(tmp_path: Path) -> None:
    """ONNX Runtime makes MatMulNBits of the two nodes, and would round x to int8 in it: an error of 5e-3, here 1e-6."""
    file = tmp_path / "blocks.onnx"
    weight = dequantised_product(file)
    x = np.random.default_rng(1).standard_normal((8, 64)).astype(np.float32)
    with open_session(file, "cpu") as session:
        got = session.run({"x": x})["y"]
    exact = x.astype(np.float64) @ weight
    assert np.abs(got - exact).max() < 1e-5 * np.abs(exact).max()


def test_the_cpu_does_without_what_is_slower_fused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[str]] = []
    make = onnxruntime.InferenceSession

    def made(*given: Any, disabled_optimizers: list[str], **named: Any) -> onnxruntime.InferenceSession:
        told.append(disabled_optimizers)
        return make(*given, disabled_optimizers=disabled_optimizers, **named)

    monkeypatch.setattr(onnxruntime, "InferenceSession", made)
    file = tmp_path / "blocks.onnx"
    dequantised_product(file)
    open_session(file, "cpu", "ort").close()
    assert told == [["SkipLayerNormFusion"]]
