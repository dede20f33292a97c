"""Graphs of a few products, their weights rounded, and runs of them in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_export.precision.quantised.cpu_form import write_cpu_form
from attn_export.precision.quantised.sites import Site, find_sites
from attn_export.precision.quantised.weights import Weights, round_here
from attn_export.precision.schemes import QuantisedScheme, get
from attn_runtime.ort import cpu_options, make_session
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Shape = Sequence[int | str]


def drawn(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    """Called as its output is, and with a place in the module that it came from."""
    made = helper.make_node(operator, inputs, [output], name=f"node {output}", **attributes)
    made.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', 'layers.{output}']")
    return made


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Shape],
    outputs: Sequence[str],
    weights: Mapping[str, Array],
    opset: int = 22,
    **more: Any,
) -> onnx.ModelProto:
    """Float inputs, but "ids", which is int64; outputs of any shape; passed by onnx's checker."""
    kinds = {"ids": TensorProto.INT64}
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()], **more,
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    made = onnx.shape_inference.infer_shapes(made)
    del made.graph.value_info[:]
    onnx.checker.check_model(made, full_check=True)
    return made


@dataclass(frozen=True)
class Rounded:
    """A graph in a file, what of it can be quantised, and the rounded weights, which lie in `file` too."""

    source: Path
    scheme: QuantisedScheme
    sites: list[Site]
    weights: Weights
    file: Path

    def matrix(self, output: str) -> Array:
        """The rounded weight [K, N] of the node that makes `output`."""
        return self.weights.of(next(site for site in self.sites if site.node == f"node {output}")).dequantised()

    def written(
        self, left: Sequence[str] = (), scales: Mapping[str, float] | None = None, name: str = "form.onnx"
    ) -> Path:
        """The form for a CPU but for the nodes that make `left`."""
        path = self.source.with_name(name)
        kept = [f"node {output}" for output in left]
        write_cpu_form(self.source, self.scheme, self.sites, kept, self.weights, scales or {}, path)
        return path


def scheme(name: str, block: int | None = None) -> QuantisedScheme:
    found = get(name)
    assert isinstance(found, QuantisedScheme)
    return replace(found, block=block or found.block)


def rounded(graph: onnx.ModelProto | Path, name: str, folder: Path, block: int | None = None) -> Rounded:
    """By the scheme `name`, to nearest."""
    source = graph if isinstance(graph, Path) else folder / "source.onnx"
    if isinstance(graph, onnx.ModelProto):
        onnx.save(graph, source)
    how = scheme(name, block)
    sites = find_sites(onnx.load(source, load_external_data=False), how.operators)
    file = folder / f"{name}.safetensors"
    round_here(str(source), [s.to_json() for s in sites], how.weights, how.block, "nearest", {}, str(file), [])
    return Rounded(source, how, sites, Weights.read(file, how.weights, how.block), file)


def ran(graph: onnx.ModelProto | Path, optimizations: bool = True, **feeds: Array) -> dict[str, Array]:
    given = graph if isinstance(graph, Path) else graph.SerializeToString()
    session = make_session(given, cpu_options(threads=1, optimizations=optimizations))
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def _product_of_255_and_127() -> int:
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["x", "w"], ["y"])],
        "saturates",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 32])],
        [helper.make_tensor_value_info("y", TensorProto.INT32, [1, 16])],
        [numpy_helper.from_array(np.full((32, 16), 127, np.int8), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return int(ran(made, False, x=np.full((1, 32), 255, np.uint8))["y"][0, 0])


#: Whether int8 products saturate at 16 bits, as on an x86 CPU without VNNI. A session mends that where it may optimize a graph.
SATURATES = _product_of_255_and_127() != 32 * 255 * 127


def off(got: Array, expected: Array) -> float:
    """max|error| as a share of max|expected|."""
    assert got.shape == expected.shape and got.dtype == expected.dtype
    return float(np.abs(got - expected).max(initial=0) / np.abs(expected).max(initial=1e-30))


def borders(graph: onnx.ModelProto) -> list[tuple[str, bytes]]:
    """Names and types of all inputs and outputs."""
    return [(v.name, v.type.SerializeToString()) for v in (*graph.graph.input, *graph.graph.output)]
