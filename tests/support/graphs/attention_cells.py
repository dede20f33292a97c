"""One attention block as an ONNX graph: every way of writing it that the survey and the tests ask about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TYPES = {"float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16}
#: (min, opt, max) of a dynamic batch, and of a dynamic length
BATCH = (1, 2, 8)
LENGTH = (16, 256, 1024)


@dataclass(frozen=True)
class Cell:
    """One block to build. Lengths and sizes in elements; a batch or a number of queries of 0 is dynamic.

    dtype      of the products
    keys       0 for as many as queries
    form       "4d" [batch, heads, length, size], "3d" [batch, length, size], "2d" [length, size], "bmm" (4d, with the heads
               folded into the batch as nn.MultiheadAttention does), "columns" [batch, size, length] (the values stand on
               the left, as a convolution gives them), "einsum", "Attention" (opset 23), "MultiHeadAttention" (com.microsoft)
    scale      "query", "both", "after" (the scores), "divided" or "none"
    mask       "none", "causal" (of the operator), or one of MASKS
    projected  whether queries, keys and values come from linear layers and the result goes to one, as in a model
    in_float32 which parts are in float32 though dtype is not: "softmax", "mask", "scores", "values"
    expected   what was known before the survey: "fused", "unfused" or "refused"; "" where nothing was
    """

    title: str = ""
    dtype: str = "float16"
    batch: int = 1
    heads: int = 8
    kv_heads: int = 0
    queries: int = 1024
    keys: int = 0
    size: int = 64
    value_size: int = 0
    form: str = "4d"
    scale: str = "query"
    mask: str = "none"
    projected: bool = False
    in_float32: frozenset[str] = frozenset()
    expected: str = ""


MASKS = (
    "add [B,1,1,S]", "add [1,1,S,S]", "add [1,H,S,S]", "add [B,S,S]", "bool where", "bool add", "bool, empty rows",
    "causal constant", "causal trilu",
)  # fmt: skip


def graph(cell: Cell) -> onnx.ModelProto:
    """The cell as a model: inputs q, k, v and perhaps mask; nodes scores, softmax and values, or attention."""
    return _Builder(cell).model()


def profile(model: onnx.ModelProto) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """(min, opt, max) shapes of every input; empty when nothing is dynamic."""
    found = {}
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        ranges = [{"batch": BATCH, "T": LENGTH}.get(d.dim_param, (d.dim_value,) * 3) for d in dims]
        found[value.name] = (tuple(r[0] for r in ranges), tuple(r[1] for r in ranges), tuple(r[2] for r in ranges))
    return found if any(low != high for low, _, high in found.values()) else {}


class _Builder:
    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.batch: int | str = cell.batch or "batch"
        self.length: int | str = cell.queries or "T"
        self.keys: int | str = cell.keys or self.length
        self.kv_heads = cell.kv_heads or cell.heads
        self.value_size = cell.value_size or cell.size

    def model(self) -> onnx.ModelProto:
        cell = self.cell
        q = self.tensor("q", cell.heads, self.length, cell.size)
        k = self.tensor("k", self.kv_heads, self.keys, cell.size)
        v = self.tensor("v", self.kv_heads, self.keys, self.value_size)
        opset, domains = (22 if cell.dtype == "bfloat16" else 18), []
        if cell.form == "Attention":
            opset, mask = 23, self.mask_input()
            causal = int(cell.mask == "causal")
            result = self.add("Attention", q, k, v, *([mask] if mask else []), name="attention", is_causal=causal)
        elif cell.form == "MultiHeadAttention":
            domains = [helper.make_opsetid("com.microsoft", 1)]
            result = self.add(
                "MultiHeadAttention", q, k, v, name="attention", num_heads=cell.heads, domain="com.microsoft"
            )
        else:
            if cell.projected:
                q, k, v = (self.linear(x, size) for x, size in ((q, cell.size), (k, cell.size), (v, self.value_size)))
            result = self.written_out(q, k, v)
            if cell.projected:
                result = self.linear(result, self.value_size)
        rank = {"3d": 3, "columns": 3, "2d": 2, "MultiHeadAttention": 3}.get(cell.form, 4)
        output = helper.make_tensor_value_info(result, TYPES[cell.dtype], [None] * rank)
        return helper.make_model(
            helper.make_graph(self.nodes, "cell", self.inputs, [output], self.constants),
            opset_imports=[helper.make_opsetid("", opset), *domains],
            ir_version=10,
        )

    def tensor(self, name: str, heads: int, length: int | str, size: int) -> str:
        shapes: dict[str, tuple[int | str, ...]] = {
            "2d": (length, size),
            "3d": (self.batch, length, size),
            "columns": (self.batch, size, length),
            "MultiHeadAttention": (self.batch, length, heads * size),
        }
        return self.input(name, self.cell.dtype, *shapes.get(self.cell.form, (self.batch, heads, length, size)))

    def written_out(self, q: str, k: str, v: str) -> str:
        cell = self.cell
        if self.kv_heads != cell.heads:
            k, v = (self.repeated(x, size) for x, size in ((k, cell.size), (v, self.value_size)))
        if cell.form == "bmm":
            q = self.folded(q, self.length, cell.size)
            k, v = self.folded(k, self.keys, cell.size), self.folded(v, self.keys, self.value_size)
        factor = cell.size**-0.5
        if cell.scale in ("query", "both"):
            q = self.add("Mul", q, self.constant(factor if cell.scale == "query" else factor**0.5, cell.dtype))
        if cell.scale == "both":
            k = self.add("Mul", k, self.constant(factor**0.5, cell.dtype))
        scores, dtype = self.scores(q, k)
        scores, dtype = self.cast(scores, dtype, "mask")
        if cell.scale in ("after", "divided"):
            after = cell.scale == "after"
            scores = self.add("Mul" if after else "Div", scores, self.constant(factor if after else 1 / factor, dtype))
        scores = self.masked(scores, dtype)
        scores, dtype = self.cast(scores, dtype, "softmax")
        weights = self.add("Softmax", scores, name="softmax", axis=-1)
        if cell.mask == "bool, empty rows":
            empty = self.add("IsNaN", weights)
            weights = self.add("Where", empty, self.constant(0.0, dtype), weights)
        return self.values(weights, dtype, v)

    def scores(self, q: str, k: str) -> tuple[str, str]:
        form, dtype = self.cell.form, self.cell.dtype
        q, dtype = self.cast(q, dtype, "scores")
        k, _ = self.cast(k, self.cell.dtype, "scores")
        if form == "einsum":
            return self.add("Einsum", q, k, name="scores", equation="bhqd,bhkd->bhqk"), dtype
        turned = {"2d": [1, 0], "3d": [0, 2, 1], "columns": [0, 2, 1], "bmm": [0, 2, 1]}.get(form, [0, 1, 3, 2])
        if form == "columns":
            q = self.add("Transpose", q, perm=turned)
        else:
            k = self.add("Transpose", k, perm=turned)
        return self.add("MatMul", q, k, name="scores"), dtype

    def values(self, weights: str, dtype: str, v: str) -> str:
        cell = self.cell
        if "values" in cell.in_float32:
            v, wanted = self.add("Cast", v, to=TYPES["float32"]), "float32"
        else:
            wanted = cell.dtype
        if dtype != wanted:
            weights = self.add("Cast", weights, to=TYPES[wanted])
        if cell.form == "einsum":
            result = self.add("Einsum", weights, v, name="values", equation="bhqk,bhkd->bhqd")
        elif cell.form == "columns":
            result = self.add("MatMul", v, self.add("Transpose", weights, perm=[0, 2, 1]), name="values")
        else:
            result = self.add("MatMul", weights, v, name="values")
        if wanted != cell.dtype:
            result = self.add("Cast", result, to=TYPES[cell.dtype])
        if cell.form == "bmm":
            length = self.length if isinstance(self.length, int) else 0
            unfolded = self.constant([cell.batch or -1, cell.heads, length, self.value_size], "int64")
            result = self.add("Reshape", result, unfolded)
        return result

    def linear(self, x: str, size: int) -> str:
        weight = np.random.default_rng(0).standard_normal((size, size)) / size**0.5
        return self.add("MatMul", x, self.constant(weight, self.cell.dtype))

    def cast(self, name: str, dtype: str, part: str) -> tuple[str, str]:
        """To float32, when the cell wants this part in it."""
        if part not in self.cell.in_float32 or dtype == "float32":
            return name, dtype
        return self.add("Cast", name, to=TYPES["float32"]), "float32"

    def folded(self, x: str, length: int | str, size: int) -> str:
        return self.add("Reshape", x, self.constant([-1, length if isinstance(length, int) else 0, size], "int64"))

    def repeated(self, x: str, size: int) -> str:
        """Heads of keys or values for each group of the queries' heads; of a fixed length, or the first axis fixed."""
        each = self.cell.heads // self.kv_heads
        x = self.add("Unsqueeze", x, self.constant([2], "int64"))
        x = self.add("Expand", x, self.constant([1, 1, each, 1, 1], "int64"))
        return self.add("Reshape", x, self.constant([0, self.cell.heads, -1, size], "int64"))

    def mask_input(self) -> str:
        shapes: dict[str, tuple[int | str, ...]] = {
            "add [B,1,1,S]": (self.batch, 1, 1, self.keys),
            "add [1,1,S,S]": (1, 1, self.length, self.keys),
            "add [1,H,S,S]": (1, self.cell.heads, self.length, self.keys),
            "add [B,S,S]": (self.batch, self.length, self.keys),
        }
        if self.cell.mask in shapes:
            dtype = "float32" if "mask" in self.cell.in_float32 else self.cell.dtype
            return self.input("mask", dtype, *shapes[self.cell.mask])
        if self.cell.mask.startswith("bool"):
            heads = (1,) if self.cell.form in ("4d", "einsum", "Attention") else ()
            return self.input("mask", "bool", self.batch, *heads, self.length, self.keys)
        return ""

    def masked(self, scores: str, dtype: str) -> str:
        kind = self.cell.mask
        if kind == "none":
            return scores
        if kind == "causal constant":
            assert isinstance(self.length, int) and isinstance(self.keys, int)
            return self.add("Add", scores, self.constant(np.triu(np.full((self.length, self.keys), -np.inf), 1), dtype))
        if kind == "causal trilu":
            axis = 2 if self.cell.form in ("4d", "columns") else 1
            q, k = (self.add("Shape", name, start=axis, end=axis + 1) for name in ("q", "k"))
            size = self.add("Concat", q, k, axis=0)
            low = self.add("Trilu", self.add("Expand", self.constant(1.0, "float32"), size), upper=0)
            return self.add("Where", self.add("Cast", low, to=TensorProto.BOOL), scores, self.constant(-np.inf, dtype))
        mask = self.mask_input()
        if kind in ("bool where", "bool, empty rows"):
            return self.add("Where", mask, scores, self.constant(-np.inf, dtype))
        if kind == "bool add":
            mask = self.add("Where", mask, self.constant(0.0, dtype), self.constant(-np.inf, dtype))
        return self.add("Add", scores, mask)

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: object) -> str:
        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [f"{name}_out"], name=name, **attributes))  # type: ignore[arg-type]
        return f"{name}_out"

    def input(self, name: str, dtype: str, *dims: int | str) -> str:
        kind = TensorProto.BOOL if dtype == "bool" else TYPES[dtype]
        self.inputs.append(helper.make_tensor_value_info(name, kind, dims))
        return name

    def constant(self, value: object, dtype: str) -> str:
        name, array = f"constant_{len(self.constants)}", np.asarray(value)
        if dtype == "bfloat16":
            tensor = helper.make_tensor(name, TYPES[dtype], array.shape, array.astype("float32").flatten())
        else:
            tensor = numpy_helper.from_array(array.astype(dtype), name)
        self.constants.append(tensor)
        return name
