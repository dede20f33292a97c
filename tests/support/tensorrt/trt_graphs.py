"""Small ONNX graphs that TensorRT builds, refuses, or builds otherwise than asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Info = onnx.ValueInfoProto
FLOAT, HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def info(name: str, dtype: int, *shape: int | str) -> Info:
    return helper.make_tensor_value_info(name, dtype, shape)


def save(
    file: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[Info],
    outputs: Sequence[Info],
    weights: Sequence[onnx.TensorProto] = (),
    opset: int = 20,
    domains: Sequence[str] = (),
) -> Path:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), file)
    return file


def weight(name: str, *shape: int, dtype: type[np.generic] = np.float32, seed: int = 0) -> onnx.TensorProto:
    values = np.random.default_rng(seed).standard_normal(shape) / np.sqrt(shape[0])
    return numpy_helper.from_array(values.astype(dtype), name)


def tell_origin(node: onnx.NodeProto, module: str, source: str) -> onnx.NodeProto:
    """Give the node the metadata that PyTorch's exporter gives: a module path and a stack trace that ends at `source`."""
    file, _, line = source.rpartition(":")
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=repr(["", module, "op"]))
    trace = (
        'File "/src/main.py", line 1, in forward\n    z\n  '
        f'File "{file}", line {line}, in forward\n    x\n  '
        'File "/x/site-packages/torch/nn/modules/linear.py", line 9, in forward\n    y'
    )
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=trace)
    return node


def matmul(file: Path, dtype: type[np.generic] = np.float32, batch: int | str = "batch") -> Path:
    """y[batch, 32] = x[batch, 64] @ w, all of one dtype."""
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = tell_origin(helper.make_node("MatMul", ["x", "w"], ["y"], name="product"), "encoder.head", "/src/net.py:12")
    sides = [info("x", element, batch, 64)], [info("y", element, batch, 32)]
    return save(file, [node], *sides, [weight("w", 64, 32, dtype=dtype)])


def mixed(file: Path) -> Path:
    """Two products, the first in float16, the second ("wide") in float32."""
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"], name="narrow"),
        helper.make_node("Cast", ["a"], ["b"], name="up", to=FLOAT),
        helper.make_node("MatMul", ["b", "w2"], ["y"], name="wide"),
    ]
    weights = [weight("w1", 64, 64, dtype=np.float16), weight("w2", 64, 32)]
    return save(file, nodes, [info("x", HALF, "batch", 64)], [info("y", FLOAT, "batch", 32)], weights)


def attention(
    file: Path,
    dtype: int = HALF,
    head_size: int = 64,
    value_size: int | None = None,
    mask: int | None = None,
    outputs: int = 1,
    past: bool = False,
    lengths: bool = False,
    opset: int = 23,
    **attributes: Any,
) -> Path:
    """One ONNX Attention, 4 heads of 64 positions, batch 2. `mask` is its dtype, `lengths` gives nonpad_kv_seqlen."""
    value_size = value_size or head_size
    inputs = [info(n, dtype, 2, 4, 64, s) for n, s in (("q", head_size), ("k", head_size), ("v", value_size))]
    names = ["q", "k", "v"]
    if mask is not None:
        inputs.append(info("mask", mask, 64, 64))
        names.append("mask")
    if past:
        inputs += [info("past_k", dtype, 2, 4, 16, head_size), info("past_v", dtype, 2, 4, 16, value_size)]
        names += [*[""] * (4 - len(names)), "past_k", "past_v"]
    if lengths:
        inputs.append(info("lengths", TensorProto.INT64, 2))
        names += [*[""] * (6 - len(names)), "lengths"]
    made = ["y", "present_k", "present_v", "scores"][:outputs]
    node = tell_origin(
        helper.make_node("Attention", names, made, name="attn", **attributes), "encoder.attn", "/src/net.py:34"
    )
    return save(file, [node], inputs, [helper.make_tensor_value_info(n, dtype, None) for n in made], opset=opset)


def written_out(file: Path, dtype: int = HALF, heads: int = 4, size: int = 64) -> Path:
    """softmax(q kT) v of MatMuls, batch 1..4: fuses in half precision."""
    nodes = [
        helper.make_node("Transpose", ["k"], ["kt"], name="turn", perm=[0, 1, 3, 2]),
        helper.make_node("MatMul", ["q", "kt"], ["s"], name="scores"),
        helper.make_node("Softmax", ["s"], ["p"], name="softmax", axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["y"], name="values"),
    ]
    inputs = [info(name, dtype, "batch", heads, 64, size) for name in "qkv"]
    return save(file, nodes, inputs, [info("y", dtype, "batch", heads, 64, size)])


def slow(file: Path, blocks: int = 150) -> Path:
    """A graph that takes TensorRT-RTX some seconds: convolutions, each of another shape."""
    nodes, weights, last, channels = [], [], "x", 8
    for number in range(blocks):
        wider = 8 + (number * 7) % 53
        weights.append(weight(f"w{number}", wider, channels, 3, 3, seed=number))
        nodes.append(
            helper.make_node("Conv", [last, f"w{number}"], [f"c{number}"], name=f"conv{number}", pads=[1, 1, 1, 1])
        )
        nodes.append(
            helper.make_node("Softmax", [f"c{number}"], [f"s{number}"], name=f"soft{number}", axis=1 + number % 3)
        )
        last, channels = f"s{number}", wider
    return save(
        file, nodes, [info("x", FLOAT, "batch", 8, "H", "W")], [info(last, FLOAT, "batch", channels, "H", "W")], weights
    )


def sandwiched(file: Path, operator: str = "MatMul", size: float = 1e6) -> Path:
    """Half precision around one product in float32 ("wide"), whose weights of about `size` half precision can't hold."""
    if operator == "MatMul":
        shape: tuple[int | str, ...] = ("batch", 64)
        wide, kernel = helper.make_node(operator, ["b", "w"], ["c"], name="wide"), (64, 64)
    else:
        shape = ("batch", 8, 16, 16)
        wide, kernel = helper.make_node(operator, ["b", "w"], ["c"], name="wide", pads=[1] * 4), (8, 8, 3, 3)
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="before"),
        helper.make_node("Cast", ["a"], ["b"], name="up", to=FLOAT),
        wide,
        helper.make_node("Cast", ["c"], ["d"], name="down", to=HALF),
        helper.make_node("Relu", ["d"], ["y"], name="after"),
    ]
    values = np.random.default_rng(0).standard_normal(kernel).astype(np.float32) * np.float32(size)
    weights = [numpy_helper.from_array(values, "w")]
    return save(file, nodes, [info("x", HALF, *shape)], [info("y", HALF, *shape)], weights)


def sandwiched_scores(file: Path) -> Path:
    """q kT in float32 ("scores") between casts from and to half precision."""
    nodes = [
        *(helper.make_node("Cast", [name], [f"{name}32"], name=f"up_{name}", to=FLOAT) for name in "qk"),
        helper.make_node("MatMul", ["q32", "k32"], ["s"], name="scores"),
        helper.make_node("Cast", ["s"], ["y"], name="down", to=HALF),
    ]
    inputs = [info("q", HALF, "batch", 64, 64), info("k", HALF, "batch", 64, 64)]
    return save(file, nodes, inputs, [info("y", HALF, "batch", 64, 64)])


def reshape(file: Path) -> Path:
    """y = x[batch, 64] in the shape that the values of the input "shape" tell."""
    node = helper.make_node("Reshape", ["x", "shape"], ["y"], name="reshape")
    inputs = [info("x", FLOAT, "batch", 64), info("shape", TensorProto.INT64, 2)]
    return save(file, [node], inputs, [helper.make_tensor_value_info("y", FLOAT, None)])
