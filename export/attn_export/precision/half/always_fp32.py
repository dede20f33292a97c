"""What stays in fp32 whatever its range: control flow, indices, angles, statistics of norms, operators without a kernel."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from attn_runtime.bundle import write_tensors
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.ort import answer_files
from onnx import TensorProto
from safetensors.numpy import load_file

from ..typed import HALVES, MOVES, has_bodies, readers_of, tensor_types
from .angles import of_positions
from .norms import statistics

_INTEGERS = (TensorProto.INT8, TensorProto.INT16, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT8)
#: The reason of norms, of which every layer has some.
NORM = "it takes the statistics of a norm"
#: Arithmetic on positions and counts: element by element, so that a whole network never counts as an index.
_COUNTING = frozenset({
    "Abs", "Add", "Ceil", "Clip", "Div", "Exp", "Floor", "Log", "Max", "Min", "Mod", "Mul", "Neg", "Pow", "Range", "Reciprocal",
    "Round", "Sqrt", "Sub",
}) | MOVES  # fmt: skip


def by_kind(model: onnx.ModelProto) -> dict[str, str]:
    """Why each such node of the main graph stays in fp32, by its name, as far as the graph alone tells."""
    found = {node.name: f"the bodies of {node.op_type} stay whole" for node in model.graph.node if has_bodies(node)}
    turns = dict.fromkeys(of_positions(model), "it is an angle of a position, or leads to one")
    norms = dict.fromkeys(statistics(model), NORM)
    return {**norms, **turns, **dict.fromkeys(_indexing(model), "its numbers become indices"), **found}


def _indexing(model: onnx.ModelProto) -> set[str]:
    """Nodes whose float results do nothing but become integers: a rounding there is another index."""
    types = tensor_types(model)
    readers = readers_of(model.graph)
    outputs = {v.name for v in model.graph.output}
    found: set[str] = set()

    def becomes_index(name: str) -> bool:
        if name in outputs or not readers.get(name):
            return False
        return all(
            node.name in found or (node.op_type == "Cast" and types.element(node.output[0]) in _INTEGERS)
            for node in readers[name]
        )

    for node in reversed(model.graph.node):
        made = [name for name in node.output if name and types.element(name) == TensorProto.FLOAT]
        cast = node.op_type == "Cast"
        if made and (cast or node.op_type in _COUNTING) and not has_bodies(node) and all(map(becomes_index, made)):
            found.add(node.name)
    return {n.name for n in model.graph.node if n.name in found}


def without_kernel(
    typed: Path, inputs: Path, known: Mapping[str, object], half_io: bool, large: bool, isolated: ChildProcess
) -> dict[str, str]:
    """Nodes of the typed graph that ONNX Runtime's CPU refuses in half precision, by name, with the reason.

    The graph is run at `inputs`; of the node at fault every other of its kind is given too (the same operator with the same
    words as attributes: a ScatterND that adds). Empty where the graph runs, and where the fault is none of a node that is
    in half precision: what is wrong then shows where the finished graph is confirmed.
    """
    work = typed.parent
    if half_io:
        arrays = {n: v.astype(np.float16) if v.dtype == np.float32 else v for n, v in load_file(inputs).items()}
        inputs = work / "kernels.in.safetensors"
        write_tensors(inputs, arrays)
    try:
        pair = (inputs, work / "kernels.out.safetensors")
        answer_files(isolated, "the graph's kernels", typed, [pair], large=large, fp16=True)
        return {}
    except TaskFailed as problem:
        message = str(problem)
    model = onnx.load(typed, load_external_data=False)
    types = tensor_types(model)
    half = [
        node for node in model.graph.node
        if node.name not in known and node.op_type not in ("Cast", "Constant") and not has_bodies(node)
        and any(types.element(name) in HALVES for name in (*node.input, *node.output))
    ]  # fmt: skip
    named = [node for node in half if re.search(rf"(?<![\w./:]){re.escape(node.name)}(?![\w./:])", message)]
    if not named:
        named = [node for node in half if re.search(rf"\b{node.op_type}\b", message)]
    kinds = {_kind(node) for node in named}
    return {n.name: f"no half precision kernel for {' '.join(_kind(n))}" for n in half if _kind(n) in kinds}


def _kind(node: onnx.NodeProto) -> tuple[str, ...]:
    words = [(a.name, a.s.decode("utf-8", "replace")) for a in node.attribute if a.HasField("s")]
    return (node.op_type, *(f"{name}={word}" for name, word in sorted(words)))
