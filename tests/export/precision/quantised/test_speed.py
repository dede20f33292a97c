"""How long graphs take: of each a number, whatever else the file of inputs holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from attn_export.precision.quantised.speed import measure
from attn_runtime.bundle import write_tensors
from attn_runtime.child_process import ChildProcess, TaskFailed
from support.quantised.products import drawn, model, node

pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture
def graphs(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{n}.onnx" for n in range(2)]
    w = {"w": drawn(8, 8)}
    onnx.save(model([node("MatMul", ["x", "w"], "y")], {"x": ["B", 8]}, ["y"], w), paths[0])
    onnx.save(
        model([node("MatMul", ["x", "w"], "p"), node("Add", ["p", "z"], "y")], {"x": ["B", 8], "z": [8]}, ["y"], w),
        paths[1],
    )
    write_tensors(tmp_path / "x.safetensors", {"x": drawn(2, 8), "z": drawn(8), "more": np.zeros(3, np.int64)})
    return paths


def test_a_positive_number_of_each_in_their_order(graphs: list[Path]) -> None:
    with ChildProcess(60) as isolated:
        seconds = measure(graphs, graphs[0].with_name("x.safetensors"), isolated)
    assert len(seconds) == 2 and all(0 < one < 60 for one in seconds)


def test_a_graph_that_cannot_be_run_says_why(graphs: list[Path]) -> None:
    write_tensors(graphs[0].with_name("x.safetensors"), {"x": drawn(2, 8)})
    with ChildProcess(60) as isolated, pytest.raises(TaskFailed, match="z"):
        measure(graphs, graphs[0].with_name("x.safetensors"), isolated)
