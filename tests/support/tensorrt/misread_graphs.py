"""Small graphs that TensorRT-RTX reads as something else, refuses to read, or dies of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class Nodes:
    """Nodes and weights of a graph in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, values: Any, dtype: Any = None) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=f"node_{output}", **attributes))
        return output

    def save(self, path: Path, inputs: dict[str, tuple[int, list[Any]]], output: list[Any] | None, opset: int = 22,
             dtype: int = TensorProto.FLOAT) -> Path:  # fmt: skip
        given = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
        graph = helper.make_graph(
            self.nodes, "g", given, [helper.make_tensor_value_info("y", dtype, output)], self.weights
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
        if opset > 20:  # onnx calls the GroupNormalization of 18 to 20 deprecated
            onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return path


def one_group(path: Path, opset: int = 22, groups: int = 1) -> Path:
    """x [B, 6, H, 5], channels of different size, normalized; scale and bias are per group before opset 21."""
    n, rng = Nodes(), np.random.default_rng(3)
    count = 6 if opset >= 21 else groups
    n.weight("sizes", np.arange(1.0, 7.0).reshape(6, 1, 1), np.float32)
    n.weight("scale", rng.standard_normal(count), np.float32)
    n.weight("bias", rng.standard_normal(count), np.float32)
    n.add("Mul", ["x", "sizes"], "louder")
    n.add("GroupNormalization", ["louder", "scale", "bias"], "y", num_groups=groups, epsilon=1e-3)
    return n.save(path, {"x": (TensorProto.FLOAT, ["B", 6, "H", 5])}, ["B", 6, "H", 5], opset)


def one_token(path: Path, width: int = 32, heads: int = 2) -> Path:
    """Attention over one token, x [B, 1, width], as simplified: its softmax is ones, and q and k give a shape alone."""
    n, rng, size = Nodes(), np.random.default_rng(3), width // heads
    n.weight("w", rng.standard_normal((width, 3 * width)) * 0.1, np.float32)
    n.weight("b", rng.standard_normal(3 * width), np.float32)
    for name, values in {"zero": [0], "one": [1], "two": [2], "three": [3], "by_heads": [-1, 1, 3, heads, size],
                         "keys": [-1, 1, size], "turned": [-1, heads, size, 1], "joined": [-1, 1, width]}.items():  # fmt: skip
        n.weight(name, values, np.int64)
    n.weight("half", [0.5], np.float32)
    n.add("MatMul", ["x", "w"], "product")
    n.add("Add", ["product", "b"], "qkv")
    n.add("Reshape", ["qkv", "by_heads"], "split")
    n.add("Transpose", ["split"], "parts", perm=[2, 0, 3, 1, 4])
    for part, start, end in (("q", "zero", "one"), ("k", "one", "two"), ("v", "two", "three")):
        n.add("Slice", ["parts", start, end, "zero"], f"{part}5")
    n.add("Squeeze", ["q5", "zero"], "q")
    n.add("Squeeze", ["v5", "zero"], "v")
    n.add("Reshape", ["k5", "keys"], "k3")
    n.add("Transpose", ["k3"], "k3t", perm=[0, 2, 1])
    n.add("Reshape", ["k3t", "turned"], "k")
    n.add("Mul", ["q", "half"], "qs")
    n.add("Mul", ["k", "half"], "ks")
    n.add("MatMul", ["qs", "ks"], "scores")
    n.add("Shape", ["scores"], "shape")
    n.add("ConstantOfShape", ["shape"], "weights", value=numpy_helper.from_array(np.ones(1, np.float32), "one_number"))
    n.add("MatMul", ["weights", "v"], "heads")
    n.add("Transpose", ["heads"], "rows", perm=[0, 2, 1, 3])
    n.add("Reshape", ["rows", "joined"], "y")
    return n.save(path, {"x": (TensorProto.FLOAT, ["B", 1, width])}, ["B", 1, width], 20)


def scattered(path: Path, reduction: str = "add", places: int = 8, by_row: bool = True, start: float = 0.5) -> Path:
    """x [P, 4] and index [P] to y [places, 4]; `by_row` False sends each column of a row elsewhere."""
    n = Nodes()
    n.weight("start", np.full((places, 4), start), np.float32)
    n.weight("behind", [1], np.int64)
    n.add("Unsqueeze", ["index", "behind"], "column")
    n.add("Shape", ["x"], "shape")
    n.add("Expand", ["column", "shape"], "wide")
    at = "wide"
    if not by_row:
        n.weight("steps", np.arange(4)[None], np.int64)
        n.weight("count", places, np.int64)
        n.add("Add", ["wide", "steps"], "moved")
        at = n.add("Mod", ["moved", "count"], "around")
    n.add("ScatterElements", ["start", at, "x"], "y", axis=0, reduction=reduction)
    inputs = {"x": (TensorProto.FLOAT, ["P", 4]), "index": (TensorProto.INT64, ["P"])}
    return n.save(path, inputs, [places, 4])


def scattered_rows(path: Path, reduction: str = "add", depth: int = 1, dtype: int = TensorProto.FLOAT) -> Path:
    """ScatterND of x [P, 4] to y [3, 5, 4]; `depth` 1: each row of x is repeated over the 5."""
    n = Nodes()
    n.weight("start", np.ones((3, 5, 4)), helper.tensor_dtype_to_np_dtype(dtype))
    values = "x"
    if depth == 1:
        n.weight("axis", [1], np.int64)
        n.weight("five", [1, 5, 1], np.int64)
        n.add("Unsqueeze", ["x", "axis"], "once")
        values = n.add("Expand", ["once", "five"], "often")
    n.add("ScatterND", ["start", "index", values], "y", reduction=reduction)
    inputs = {"x": (dtype, ["P", 4]), "index": (TensorProto.INT64, ["P", depth])}
    return n.save(path, inputs, [3, 5, 4], dtype=dtype)
