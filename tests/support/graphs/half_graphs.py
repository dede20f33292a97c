"""float16 graphs on which ONNX Runtime's optimizers go wrong on the CPU, where a session does not leave them out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def half_transpose(file: Path) -> None:
    """What ONNX Runtime 1.24 to 1.31 dies of where its NchwcTransformer is not left out."""
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), helper.make_node("MatMul", ["t", "w"], ["y"])]
    _halves(file, nodes, {"w": np.ones((4, 5), np.float16)}, ("x", [2, 3, 4]), ("y", [3, 2, 5]))


_WEIGHT = np.linspace(0.5, 1.5, 8).astype(np.float16)


def half_norm(file: Path) -> None:
    """Two RMSNorms of small numbers that share an epsilon, which a fusion of ONNX Runtime's would replace."""
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
        "weight": _WEIGHT,
        "a.matrix": np.eye(8, dtype=np.float16) * np.float16(0.05),
        "b.matrix": np.eye(8, dtype=np.float16),
    }
    _halves(file, nodes, constants, ("x", ["B", 8]), ("b.z", ["B", 8]))


def half_norm_answer(x: np.ndarray) -> dict[str, np.ndarray]:
    weight = _WEIGHT.astype(np.float32)
    return {"b.z": np.tile(weight**2 / np.sqrt((weight**2).mean()), (len(x), 1)).astype(np.float16)}


def _halves(file: Path, nodes: Any, constants: Mapping[str, Any], x: tuple[str, Any], y: tuple[str, Any]) -> None:
    sides = [[helper.make_tensor_value_info(name, TensorProto.FLOAT16, shape)] for name, shape in (x, y)]
    held = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", *sides, held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
