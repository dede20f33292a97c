"""float16 graphs on the CPU: run in a process of their own, for ONNX Runtime ends it where we don't prevent that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from attn_runtime.session import open_session
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
