"""Bundles of one small model, each with something changed: y = relu(x @ up) @ down, one module for each product."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle.writer import BundleWriter
from attn_runtime.spec import Dim, TensorSpec
from onnx import TensorProto, helper, numpy_helper

_RNG = np.random.default_rng(5)
UP = _RNG.standard_normal((16, 8)).astype(np.float32) / 4
DOWN = _RNG.standard_normal((8, 3)).astype(np.float32)


def write_bundle(
    path: Path,
    *,
    gain: float = 1.0,
    input: str = "x",
    output: str = "y",
    most: int = 4,
    opset: int = 18,
    identity: bool = False,
    int8: bool = False,
    fails: bool = False,
) -> Path:
    """`gain` multiplies `down`; `most` rows are taken; `identity` adds a node that does nothing, and `int8` a precision of
    weights in eight bits. With `fails` the recorded error of the one check is over its limit."""
    batch = Dim("batch", 1, 2, most)
    inputs = TensorSpec(input, "float32", (batch, Dim.fixed(16)))
    answer = TensorSpec(output, "float32", (batch, Dim.fixed(3)))
    down = (DOWN * gain).astype(np.float32)
    precisions: dict[str, Any] = {"fp32": {"file": "model.onnx", "data": [], "tolerance": {"atol": 1e-6, "rtol": 2e-5}}}
    golden = []
    with BundleWriter(path) as writer:
        onnx.save(_model(input, output, down, opset, identity), writer.path("model.onnx"))
        if int8:
            onnx.save(_model(input, output, down, opset, identity, int8=True), writer.path("model.int8.onnx"))
            left = [{"node": "down", "operator": "MatMul", "module": "down", "reason": "error alone"}]
            told = {"weights": "int8", "activations": "float", "rounding": "nearest", "quantised": 1, "left": left}
            limits = {"atol": 1e-5, "rtol": 5e-2}
            precisions["int8"] = {"file": "model.int8.onnx", "data": [], "tolerance": limits, "quantised": told}
        for number, (case, rows) in enumerate({"min": 1, "max": most}.items()):
            x = np.random.default_rng(number).standard_normal((rows, 16)).astype(np.float32)
            files = {side: f"golden/{case}.{side}.safetensors" for side in ("inputs", "outputs")}
            writer.add_tensors(files["inputs"], {input: x})
            writer.add_tensors(files["outputs"], {output: np.maximum(x @ UP, 0) @ down})
            golden.append(
                {"case": case, "sizes": {"batch": rows}, "checked_sizes": {"batch": rows}, "seed": 0, **files}
            )
        writer.add_json("assets/labels.json", ["a", "b", "c"])
        check = {"case": "max", "sizes": {"batch": most}, "output": output, "max_error": 2e-5 if fails else 1e-6,
                 "max_reference": 1.0, "limit": 1e-5, "passed": not fails}  # fmt: skip
        stages = [
            {"name": name, "precision": precision, "nodes_before": None, "nodes_after": 3, "kept": True, "note": "",
             "checks": [check]}
            for name, precision in (("capture", "fp32"), ("int8", "int8"))[: len(precisions)]
        ]  # fmt: skip
        entry = {
            "inputs": [inputs.to_json()],
            "outputs": [answer.to_json()],
            "opset": opset,
            "exporter": "dynamo",
            "precisions": precisions,
            "stages": stages,
            "golden": golden,
            **{key: [] for key in ("cures", "consistency")},
        }
        writer.commit(
            {
                "name": "small",
                "task": None,
                "created": "2026-01-31T12:00:00+00:00",
                "source": {"kind": "module", "ref": "by:hand", "checkpoint": None, "config": {}},
                "versions": {"torch": "2.13.0"},
                "graphs": {"model": entry},
                "assets": {"labels": "assets/labels.json"},
            }
        )
    return path


def _model(
    input: str, output: str, down: np.ndarray, opset: int, identity: bool, int8: bool = False
) -> onnx.ModelProto:
    weights = [numpy_helper.from_array(down, "down.weight")]
    nodes = [
        helper.make_node("MatMul", [input, "up.weight"], ["wide"], name="up"),
        helper.make_node("Relu", ["wide"], ["kept"], name="relu"),
        helper.make_node("MatMul", ["kept", "down.weight"], [output], name="down"),
    ]
    if identity:
        nodes[2].input[0] = "again"
        nodes.insert(2, helper.make_node("Identity", ["kept"], ["again"], name="again"))
    if int8:
        scale = np.float32(np.abs(UP).max() / 127)
        weights += [
            numpy_helper.from_array(np.round(UP / scale).astype(np.int8), "up.int8"),
            numpy_helper.from_array(scale, "up.scale"),
        ]
        nodes.insert(0, helper.make_node("DequantizeLinear", ["up.int8", "up.scale"], ["up.weight"], name="wide"))
    else:
        weights.append(numpy_helper.from_array(UP, "up.weight"))
    for node in nodes:
        if node.name in ("up", "down"):
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', '{node.name}', 'matmul']")
    sides = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", size])
        for name, size in ((input, 16), (output, 3))
    ]
    graph = helper.make_graph(nodes, "g", sides[:1], sides[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
