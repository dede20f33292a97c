"""Small quantised ONNX graphs, typed throughout: what TensorRT multiplies in narrow types, and what it only seems to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .trt_graphs import info, save

FLOAT, HALF, INT8, INT4, FP8 = (
    TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.INT4, TensorProto.FLOAT8E4M3FN
)  # fmt: skip
K, N = 64, 32


class Graph:
    """Nodes and weights in the making. `rest` is the ONNX type of all that is not quantised."""

    def __init__(self, rest: int = HALF) -> None:
        self.rest = rest
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Its output has its name."""
        self.nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def floats(self, name: str, values: Any, dtype: int | None = None) -> str:
        made = np.asarray(values, helper.tensor_dtype_to_np_dtype(dtype or self.rest))
        self.weights.append(numpy_helper.from_array(made, name))
        return name

    def narrow(self, name: str, shape: Sequence[int], dtype: int = INT8) -> str:
        values = np.random.default_rng(0).integers(-8, 8, int(np.prod(shape)))
        self.weights.append(helper.make_tensor(name, dtype, shape, values.tolist()))
        return name

    def zero(self, name: str, dtype: int, value: int = 0) -> str:
        self.weights.append(helper.make_tensor(name, dtype, (), [value]))
        return name

    def activations(self, tensor: str, dtype: int = INT8, scale: Any = 0.05, zero: int = 0, axis: int = 1) -> str:
        """`tensor`, quantised and dequantised, with one scale or several."""
        scales = self.floats(f"{tensor}_scale", scale)
        ends = [scales] if np.ndim(scale) else [scales, self.zero(f"{tensor}_zero", dtype, zero)]
        told = {"axis": axis, "output_dtype": dtype} if np.ndim(scale) else {}
        made = self.add("QuantizeLinear", [tensor, *ends], f"{tensor}_q", **told)
        return self.add("DequantizeLinear", [made, *ends], f"{tensor}_dq", **({"axis": axis} if np.ndim(scale) else {}))

    def channels(self, name: str, shape: Sequence[int], dtype: int = INT8, axis: int = 1, block: int = 0) -> str:
        """Weights with a scale for each channel, or for each block of `block` along `axis`."""
        lies = self.narrow(name, shape, dtype)
        if block:
            count = [-(-size // block) if at == axis else size for at, size in enumerate(shape)]
            scales = self.floats(f"{name}_scale", np.full(count, 0.1))
            return self.add("DequantizeLinear", [lies, scales], f"{name}_dq", axis=axis, block_size=block)
        scales = self.floats(f"{name}_scale", np.full(shape[axis], 0.1))
        return self.add("DequantizeLinear", [lies, scales], f"{name}_dq", axis=axis)

    def save(self, file: Path, result: str, *given: int | str, opset: int = 21) -> Path:
        """With one input x of the sizes `given`, the first of them dynamic; a result y like it."""
        self.nodes.append(helper.make_node("Identity", [result], ["y"], name="result"))
        rank = ["batch", *(f"d{at}" for at in range(1, len(given)))]
        sides = [info("x", self.rest, *given)], [info("y", self.rest, *rank)]
        return save(file, self.nodes, *sides, self.weights, opset=opset)


def linear(file: Path, dtype: int = INT8, rest: int = HALF, weight_axis: int = 1, scale: Any = 0.05) -> Path:
    """y[batch, N] = x[batch, K] @ w + b, both operands of the product quantised; the scales of the weights lie along N."""
    graph = Graph(rest)
    x = graph.activations("x", dtype, scale)
    made = graph.add("MatMul", [x, graph.channels("w", (K, N), dtype, weight_axis)], "product")
    made = graph.add("Add", [made, graph.floats("b", np.ones(N))], "biased")
    return graph.save(file, made, "batch", K)


def of_weights(
    file: Path, dtype: int = INT8, rest: int = HALF, block: int = 0, sizes: tuple[int, int] = (K, N), tied: bool = False
) -> Path:
    """y = x @ w, w alone quantised: by output channel, or in blocks along K; `tied`: as [N, K] behind a Transpose."""
    graph, axis = Graph(rest), (0 if block else 1)
    shape = sizes[::-1] if tied else sizes
    w = graph.channels("w", shape, dtype, 1 - axis if tied else axis, block)
    w = graph.add("Transpose", [w], "turned", perm=[1, 0]) if tied else w
    return graph.save(file, graph.add("MatMul", ["x", w], "product"), "batch", sizes[0])


def convolution(
    file: Path, dtype: int = INT8, activations: bool = True, transposed: bool = False, listed: bool = False
) -> Path:
    """16 channels of 8 by 8 to 32, with a bias in float but where it is transposed; `listed`: its scale is a list of one."""
    graph = Graph()
    x = graph.activations("x", dtype, [0.05] if listed else 0.05) if activations else "x"
    shape = (16, 32, 3, 3) if transposed else (32, 16, 3, 3)
    w = graph.channels("w", shape, dtype, 1 if transposed else 0)
    bias = [] if transposed else [graph.floats("b", np.ones(32))]
    made = graph.add("ConvTranspose" if transposed else "Conv", [x, w, *bias], "product")
    return graph.save(file, made, "batch", 16, 8, 8)


def attention(file: Path, products: bool = True) -> Path:
    """Self-attention of two heads of 32 over 16 places: its projections quantised, and with `products` those inside too."""
    graph = Graph()
    graph.weights.append(numpy_helper.from_array(np.array([0, 0, 2, 32]), "heads"))
    graph.weights.append(numpy_helper.from_array(np.array([0, 0, 64]), "joined"))
    x = graph.activations("x")
    turned = []
    for name, order in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
        made = graph.add("MatMul", [x, graph.channels(f"{name}_w", (64, 64))], name)
        made = graph.add("Reshape", [made, "heads"], f"{name}_heads")
        made = graph.add("Transpose", [made], f"{name}_turned", perm=order)
        turned.append(graph.activations(made) if products else made)
    scores = graph.add("Softmax", [graph.add("MatMul", turned[:2], "scores")], "weights", axis=-1)
    scores = graph.activations(scores, scale=1 / 127) if products else scores
    made = graph.add("MatMul", [scores, turned[2]], "values")
    made = graph.add("Transpose", [made], "back", perm=[0, 2, 1, 3])
    made = graph.activations(graph.add("Reshape", [made, "joined"], "rows"))
    made = graph.add("MatMul", [made, graph.channels("o_w", (64, 64))], "o")
    return graph.save(file, made, "batch", 16, 64)


def packed(file: Path, apart: bool = False) -> Path:
    """Queries, keys and values of two heads of 32 over 16 places by one product, cut in three, or by three."""
    graph = Graph()
    graph.weights.append(numpy_helper.from_array(np.array([0, 0, 2, 32]), "heads"))
    graph.weights.append(numpy_helper.from_array(np.array([64, 64, 64]), "sizes"))
    x, parts = graph.activations("x"), ["q", "k", "v"]
    if apart:
        parts = [graph.add("MatMul", [x, graph.channels(f"{name}_w", (64, 64))], name) for name in parts]
    else:
        made = graph.add("MatMul", [x, graph.channels("w", (64, 192))], "product")
        made = graph.add("Add", [made, graph.floats("b", np.ones(192))], "biased")
        graph.nodes.append(helper.make_node("Split", [made, "sizes"], parts, name="split", axis=-1))
    turned = []
    for name, order in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]), strict=True):
        made = graph.add("Reshape", [name, "heads"], f"{name}_heads")
        turned.append(graph.add("Transpose", [made], f"{name}_turned", perm=order))
    scores = graph.add("Softmax", [graph.add("MatMul", turned[:2], "scores")], "weights", axis=-1)
    return graph.save(file, graph.add("MatMul", [scores, turned[2]], "values"), "batch", 16, 64)


def scaled_while_it_runs(file: Path) -> Path:
    """Activations whose scale is their greatest: with QuantizeLinear and DequantizeLinear, as if it were static."""
    graph = Graph(FLOAT)
    most = graph.add("ReduceMax", [graph.add("Abs", ["x"], "abs")], "most", keepdims=0)
    scale, zero = graph.add("Div", [most, graph.floats("levels", 127)], "scale"), graph.zero("zero", INT8)
    x = graph.add("QuantizeLinear", ["x", scale, zero], "q")
    x = graph.add("DequantizeLinear", [x, scale, zero], "dq")
    return graph.save(file, graph.add("MatMul", [x, graph.channels("w", (K, N))], "product"), "batch", K)


def with_bias(file: Path, dtype: int) -> Path:
    """A bias that lies in `dtype`, as tools write it in int32."""
    graph = Graph()
    graph.weights.append(helper.make_tensor("b", dtype, (N,), list(range(N))))
    bias = graph.add("DequantizeLinear", ["b", graph.floats("b_scale", np.full(N, 1e-3))], "bias", axis=0)
    made = graph.add("Gemm", [graph.activations("x"), graph.channels("w", (K, N)), bias], "product")
    return graph.save(file, made, "batch", K)


def with_activations(file: Path, dtype: int, zero: int = 0, scale: float = 0.05) -> Path:
    """The linear layer, its activations otherwise."""
    graph = Graph()
    x = graph.activations("x", dtype, scale, zero)
    return graph.save(file, graph.add("MatMul", [x, graph.channels("w", (K, N))], "product"), "batch", K)


def in_integers(file: Path, operator: str) -> Path:
    """y = x @ w by operators that multiply integers."""
    graph = Graph(FLOAT)
    w = graph.narrow("w", (K, N))
    if operator == "QLinearMatMul":
        scale, zero = graph.floats("scale", 0.1), graph.zero("zero", INT8)
        q = graph.add("QuantizeLinear", ["x", scale, zero], "q")
        made = graph.add(operator, [q, scale, zero, w, scale, zero, scale, zero], "product")
        made = graph.add("DequantizeLinear", [made, scale, zero], "dq")
    else:
        graph.nodes.append(helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "s", "z"], name="dynamic"))
        made = graph.add("Cast", [graph.add("MatMulInteger", ["q", w, "z"], "product")], "cast", to=FLOAT)
    return graph.save(file, made, "batch", K)
