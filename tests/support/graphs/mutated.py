"""Graphs written as text, their mutants by name, and bundles of them whose golden answers are the graph's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from attn_export.mutation import Mutants
from attn_runtime.bundle import BundleWriter
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import TensorSpec, named_dims
from onnx import numpy_helper

from support.graphs.make_hostile_bundles import valid_manifest

Arrays = Mapping[str, np.ndarray]


def graph(file: Path, text: str, weights: Arrays | None = None) -> Path:
    """Write the ONNX graph `text`, "(float[B, 4] x) => (float[B, 4] y) { y = Relu(x) }", of opset 22."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 22]>\ng {text}')
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    model.graph.initializer.extend(numpy_helper.from_array(v, n) for n, v in (weights or {}).items())
    onnx.save(model, file)
    return file


def mutant(source: Path, what: str, family: str = "") -> Path:
    """The mutant whose change has `what` in its text, written beside `source`."""
    mutants = Mutants(source)
    site = next(s for s in mutants.draw(0) if what in s.mutant.what and (not family or s.mutant.family == family))
    target = source.with_name("mutant.onnx")
    mutants.write(site, target)
    return target


def every_change(source: Path) -> set[tuple[str, str]]:
    """(family, what) of all that can be changed."""
    return {(s.mutant.family, s.mutant.what) for s in Mutants(source).draw(0)}


def run(file: Path, **inputs: Any) -> np.ndarray:
    """The first output, of the graph as it is: nothing is optimized."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


def changed(source: Path, what: str, family: str = "", **inputs: Any) -> np.ndarray:
    """What the mutant answers."""
    return run(mutant(source, what, family), **inputs)


def bundle(
    path: Path,
    text: str,
    weights: Arrays,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    draw: Mapping[str, Callable[[np.ndarray], np.ndarray]] | None = None,
    rtol: float = 2e-5,
    half: str = "",
) -> Path:
    """A bundle of one graph with golden cases at min, opt and max; `draw` makes others of drawn inputs.

    `half` is the graph of its precision fp16, float32 at the border, whose weights are the same in float16.
    """
    manifest: dict[str, Any] = valid_manifest()
    model = manifest["graphs"]["model"]
    model["inputs"], model["outputs"] = [s.to_json() for s in inputs], [s.to_json() for s in outputs]
    del model["precisions"]["ext"], model["precisions"]["half"]
    model["precisions"]["fp32"]["tolerance"]["rtol"] = rtol
    if half:
        tolerance = {"atol": 1e-5, "rtol": 1e-2}
        model["precisions"]["fp16"] = {"file": "model.fp16.onnx", "data": [], "tolerance": tolerance, "type": "fp16"}
    manifest["assets"], manifest["task"] = {}, None
    dims = named_dims(inputs)
    with BundleWriter(path) as writer:
        file = graph(writer.path("model.onnx"), text, weights)
        if half:
            graph(writer.path("model.fp16.onnx"), half, {n: v.astype(np.float16) for n, v in weights.items()})
        for number, golden in enumerate(model["golden"]):
            which = ("min", "opt", "max")[min(number, 2)]
            sizes = {n: int(getattr(d, which)) for n, d in dims.items()}
            golden["sizes"] = golden["checked_sizes"] = sizes
            drawn = draw_inputs(inputs, sizes, number)
            drawn |= {name: other(drawn[name]) for name, other in (draw or {}).items()}
            writer.add_tensors(golden["inputs"], drawn)
            session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
            answers = session.run(None, drawn)
            writer.add_tensors(golden["outputs"], {s.name: a for s, a in zip(outputs, answers, strict=True)})
        writer.commit(manifest)
    return path
