"""onnxsim, judged by what it gives: the graph with the fewest nodes is kept, and that may be the one it was given.

onnxsim's optimizer turns MatMul + Add on rank 3 into Reshape, Gemm, Reshape, and so makes many attention graphs larger.
It is tried whole, without that fusion, and not at all (constant folding alone), in a child process.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.errors import StageError

from ..onnx_graph import GraphInfo, info_of, load, weights_to_inputs
from ._base import PassResult, same_opset

#: Folding may turn a computed constant into stored data; beyond this growth the smaller file is worth the nodes.
_MAX_GROWTH = 1.05
_SMALL_BYTES = 1 << 20

#: Fusions into operators of com.microsoft, which ONNX Runtime alone can run.
_OF_ONE_ENGINE = ["fuse_attention", "fuse_gqa"]

#: (what it is called, whether the optimizer runs, the fusions that are left out)
_WAYS: tuple[tuple[str, bool, list[str]], ...] = (
    ("onnxsim", True, []),
    ("onnxsim without its batched Gemm", True, ["fuse_matmul_add_bias_into_gemm_batched"]),
    ("onnxsim without its optimizer", False, []),
)


class Simplify:
    name = "simplify"
    summary = "fold constants and merge nodes with onnxsim, where that makes the graph smaller"

    def requires(self, before: GraphInfo) -> str:
        return ""

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        original = load(source)
        before, bare = info_of(original), target.with_suffix(".bare.onnx")
        _save_without_large_weights(original, bare)
        tried: list[tuple[int, int, int, str, ir.Model]] = []
        notes: list[str] = []
        for number, (label, optimize, skip) in enumerate(_WAYS):
            candidate = target.with_suffix(f".{number}.onnx")
            try:
                isolated.run(
                    "attn_export.passes._onnxsim:simplify_here",
                    "simplify",
                    source=str(bare),
                    target=str(candidate),
                    optimize=optimize,
                    skip=[*skip, *_OF_ONE_ENGINE],
                )
            except (TaskFailed, StageError) as problem:
                notes.append(f"{label} gave up ({str(problem)[:120]})")
                continue
            simplified = load(candidate)
            _restore(simplified, original)
            after = info_of(simplified)
            if foreign := _domains(simplified) - _domains(original):
                notes.append(f"{label} brought in operators of {', '.join(sorted(foreign))}")
                continue
            if after.weight_bytes <= max(before.weight_bytes * _MAX_GROWTH, before.weight_bytes + _SMALL_BYTES):
                tried.append((after.nodes, after.weight_bytes, number, label, simplified))
            notes.append(f"{label}: {after.nodes} nodes")
        best = min(tried, default=None)
        if best is not None and best[0] < before.nodes:
            ir.save(best[4], target)
            outcome = PassResult(target, f"kept {best[3]}")
        else:
            outcome = PassResult(source, f"kept the graph as captured ({'; '.join(notes)})")
        for left in (bare, *target.parent.glob(f"{target.stem}.[0-9].onnx")):
            left.unlink(missing_ok=True)
        return outcome

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        if changed := same_opset(before, after):
            return changed
        if after.nodes > before.nodes:
            return f"the graph grew from {before.nodes} to {after.nodes} nodes"
        return ""


def _domains(model: ir.Model) -> set[str]:
    """Where the operators come from: a domain that is new would tie the graph to one engine."""
    return {node.domain for node in model.graph.all_nodes()}


def _is_large(tensor: ir.TensorProtocol) -> bool:
    return isinstance(tensor, ir.ExternalTensor) or tensor.nbytes >= _SMALL_BYTES


def _save_without_large_weights(original: ir.Model, target: Path) -> None:
    """Write the model with its large weights as inputs, so that gigabytes needn't pass through onnxsim, three times.

    What is folded then is arithmetic on shapes and small constants; the exporter has folded the rest.
    """
    model = original.clone()
    weights_to_inputs(model.graph, _is_large)
    ir.save(model, target)


def _restore(model: ir.Model, original: ir.Model) -> None:
    """Put the large weights back, and what onnxsim drops: each node's module path and source line."""
    graph, weights = model.graph, original.graph.initializers
    for value in list(graph.inputs):
        weight = weights.get(value.name or "")
        tensor = weight.const_value if weight is not None else None
        if tensor is not None and _is_large(tensor):
            graph.inputs.remove(value)
            if value.uses() or value.is_graph_output():
                value.const_value = tensor
                graph.register_initializer(value)
    by_output = {value.name: node for node in original.graph for value in node.outputs}
    for node in graph:
        was = next((by_output[value.name] for value in node.outputs if value.name in by_output), None)
        if was is not None and not node.metadata_props:
            node.metadata_props.update(was.metadata_props)
    # onnxsim writes a protocol of its own into the model; the bundle's manifest says what was done.
    for key in [key for key in model.metadata_props if key.startswith("onnxsim.")]:
        del model.metadata_props[key]


PASS = Simplify()
