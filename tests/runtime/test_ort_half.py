"""float16 graphs on the CPU: run in a process of their own, for ONNX Runtime ends it where we don't prevent that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from attn_runtime.session import open_session
from onnx import TensorProto, helper, numpy_helper

RUN = """
import numpy, sys
from attn_runtime.session import open_session
with open_session(sys.argv[1], "cpu") as session:
    print(session.run({"x": numpy.ones((2, 3, 4), "float16")})["y"].sum())
"""


def test_a_transpose_before_a_matmul_in_float16_runs(tmp_path: Path) -> None:
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), helper.make_node("MatMul", ["t", "w"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [2, 3, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [3, 2, 5])],
        [numpy_helper.from_array(np.ones((4, 5), np.float16), "w")],
    )
    file = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
    ran = subprocess.run([sys.executable, "-c", RUN, str(file)], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout.strip()) == (0, "120.0"), ran.stderr[-500:]


def test_a_small_epsilon_in_float16_is_the_graphs_own(tmp_path: Path) -> None:
    """ONNX Runtime's fusion of two RMSNorms that share it would make it 1e-5, as large as the mean squares here."""
    nodes, x = [], "x"
    for n in "ab":
        nodes += [
            helper.make_node("Div", [x, "divisor"], [f"{n}.x"]),
            helper.make_node("Pow", [f"{n}.x", "two"], [f"{n}.square"]),
            helper.make_node("ReduceMean", [f"{n}.square", "axes"], [f"{n}.mean"], keepdims=1),
            helper.make_node("Add", [f"{n}.mean", "epsilon"], [f"{n}.shifted"]),
            helper.make_node("Sqrt", [f"{n}.shifted"], [f"{n}.root"]),
            helper.make_node("Div", [f"{n}.x", f"{n}.root"], [f"{n}.normal"]),
            helper.make_node("Mul", [f"{n}.normal", "weight"], [f"{n}.y"]),
            helper.make_node("MatMul", [f"{n}.y", f"{n}.matrix"], [f"{n}.z"]),
        ]
        x = f"{n}.z"
    constants = {
        "divisor": np.float16(16),
        "two": np.float16(2),
        "axes": np.array([-1]),
        "epsilon": np.float16(6e-8),
        "weight": np.linspace(0.5, 1.5, 8).astype(np.float16),
        "a.matrix": np.eye(8, dtype=np.float16) * np.float16(0.05),
        "b.matrix": np.eye(8, dtype=np.float16),
    }
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, ["batch", 8])],
        [helper.make_tensor_value_info("b.z", TensorProto.FLOAT16, ["batch", 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    file = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
    x16 = np.full((1, 8), 0.06, np.float16)
    weight = constants["weight"].astype(np.float32)
    with open_session(file, "cpu") as session:
        np.testing.assert_allclose(
            session.run({"x": x16})["b.z"][0], weight**2 / np.sqrt((weight**2).mean()), rtol=0.02
        )
