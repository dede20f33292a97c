"""That sessions which are asked to share weights do, by what the process holds in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from support.graphs.make_graphs import floats

MEGABYTES = 16

_CHILD = """
import ctypes, json, sys
import numpy as np
from attn_runtime.session import open_session

def held():
    # Its own memory and mapped weights, in MiB. Libraries are left out: their share falls and rises with what else runs them.
    getattr(ctypes.CDLL(None), "malloc_trim", lambda _: 0)(0)  # what was freed and is not given back is nobody's
    kilobytes, weights = 0, False
    for line in open("/proc/self/smaps"):
        word, *rest = line.split()
        if not word.endswith(":"):
            weights = bool(rest) and rest[-1].endswith("weights.data")
        elif word == "Anonymous:" or (word == "Pss:" and weights):
            kilobytes += int(rest[0])
    return kilobytes / 1024

x = np.ones((2, 1024), np.float32)
open_session(sys.argv[1] + "/0.onnx", "cpu", threads=1, low_memory=True).close()  # so that the library is there
before, found, answers = held(), [], []
sessions = [open_session(f"{sys.argv[1]}/{n}.onnx", "cpu", threads=1, low_memory=sys.argv[2] == "low") for n in range(3)]
answers = [float(session.run({"x": x})["y"].sum()) for session in sessions]
print(json.dumps([held() - before, answers]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three graphs y = x @ w0 @ w1 .. over one file of weights."""
    made = tmp_path_factory.mktemp("weights")
    count = MEGABYTES // 4
    weights = np.random.default_rng(0).standard_normal((count, 1024, 1024), dtype=np.float32) / 32
    (made / "weights.data").write_bytes(weights.tobytes())
    tensors, nodes = [], []
    for n in range(count):
        tensor = TensorProto(name=f"w{n}", data_type=TensorProto.FLOAT, dims=[1024, 1024])
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "weights.data"), ("offset", n << 22), ("length", 1 << 22)):
            tensor.external_data.add(key=key, value=str(value))
        tensors.append(tensor)
        names = ["x" if n == 0 else f"x{n}", "y" if n == count - 1 else f"x{n + 1}"]
        nodes.append(helper.make_node("MatMul", [names[0], f"w{n}"], [names[1]]))
    graph = helper.make_graph(nodes, "graph", [floats("x", "b", 1024)], [floats("y", "b", 1024)], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for n in range(3):
        onnx.save(model, made / f"{n}.onnx")
    return made


def megabytes(folder: Path, how: str) -> tuple[float, list[float]]:
    done = subprocess.run([sys.executable, "-c", _CHILD, folder, how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    held, answers = json.loads(done.stdout)
    return held, answers


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="the kernel does not tell what is shared")
def test_sessions_of_one_file_of_weights_hold_it_once(folder: Path) -> None:
    shared, answers = megabytes(folder, "low")
    assert shared < 1.5 * MEGABYTES
    copied, same = megabytes(folder, "fast")
    assert copied > 2.5 * MEGABYTES, "without being asked, each session keeps a copy"
    np.testing.assert_allclose(answers, same, rtol=1e-3)
