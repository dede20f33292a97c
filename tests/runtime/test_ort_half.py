"""float16 graphs on the CPU: run in a process of their own, for ONNX Runtime ends it where we don't prevent that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
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
