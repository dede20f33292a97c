"""onnxsim, judged by what it gives: the graph with the fewest nodes is kept, and that may be the one it was given.

onnxsim's optimizer turns MatMul + Add on rank 3 into Reshape, Gemm, Reshape, and so makes many attention graphs larger.
It is tried whole, without that fusion, and not at all (constant folding alone), in a child process.
"""

from __future__ import annotations

from pathlib import Path

import onnx
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.errors import StageError

from ..onnx_graph.onnx_file import GraphInfo, names_read, read_info
from ._base import PassResult

#: Folding may turn a computed constant into stored data; beyond this growth the smaller file is worth the nodes.
_MOST_GROWTH = 1.05
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
        before = read_info(source)
        bare = target.with_suffix(".bare.onnx")
        weights = _without_external_weights(source, bare)
        tried: list[tuple[int, int, int, str, Path]] = []
        notes: list[str] = []
        for number, (label, optimize, skip) in enumerate(_WAYS):
            given = target.with_suffix(f".{number}.onnx")
            try:
                isolated.run(
                    "attn_export.passes._onnxsim:simplify_here",
                    "simplify",
                    source=str(bare),
                    target=str(given),
                    optimize=optimize,
                    skip=[*skip, *_OF_ONE_ENGINE],
                )
            except (TaskFailed, StageError) as problem:
                notes.append(f"{label} gave up ({str(problem)[:120]})")
                continue
            _restore(source, given, weights)
            after = read_info(given)
            if foreign := _domains(given) - _domains(source):
                notes.append(f"{label} brought in operators of {', '.join(sorted(foreign))}")
                continue
            if after.weight_bytes <= max(before.weight_bytes * _MOST_GROWTH, before.weight_bytes + _SMALL_BYTES):
                tried.append((after.nodes, after.weight_bytes, number, label, given))
            notes.append(f"{label}: {after.nodes} nodes")
        best = min(tried, default=None)
        if best is not None and best[0] < before.nodes:
            best[4].replace(target)
            outcome = PassResult(target, f"kept {best[3]}")
        else:
            outcome = PassResult(source, f"kept the graph as captured ({'; '.join(notes)})")
        for left in (bare, *target.parent.glob(f"{target.stem}.[0-9].onnx")):
            left.unlink(missing_ok=True)
        return outcome

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        if after.opset != before.opset:
            return f"the opset was {before.opset} and is {after.opset}"
        if after.nodes > before.nodes:
            return f"the graph grew from {before.nodes} to {after.nodes} nodes"
        return ""


def _domains(path: Path) -> set[str]:
    """Where the operators come from: a domain that is new would tie the graph to one engine."""
    return {node.domain for node in onnx.load(path, load_external_data=False).graph.node} - {"", "ai.onnx"}


def _without_external_weights(source: Path, target: Path) -> dict[str, onnx.TensorProto]:
    """Write `source` with its external weights as inputs, so that gigabytes needn't pass through onnxsim.

    What is folded then is arithmetic on shapes and small constants; the exporter has folded the rest.
    """
    model = onnx.load(source, load_external_data=False)
    weights = {t.name: t for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL}
    kept = [t for t in model.graph.initializer if t.name not in weights]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    for name, tensor in weights.items():
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, tensor.data_type, list(tensor.dims)))
    onnx.save(model, target)
    return weights


def _restore(source: Path, given: Path, weights: dict[str, onnx.TensorProto]) -> None:
    """Put the external weights back, and what onnxsim drops: each node's module path and source line."""
    model = onnx.load(given, load_external_data=False)
    original = onnx.load(source, load_external_data=False)
    kept = [v for v in model.graph.input if v.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    used = names_read(model.graph)
    model.graph.initializer.extend(t for name, t in weights.items() if name in used)
    by_output = {name: node for node in original.graph.node for name in node.output}
    for node in model.graph.node:
        was = next((by_output[name] for name in node.output if name in by_output), None)
        if was is not None and not node.metadata_props:
            node.metadata_props.extend(was.metadata_props)
    # onnxsim writes a protocol of its own into the model; the bundle's manifest says what was done.
    props = [p for p in model.metadata_props if not p.key.startswith("onnxsim.")]
    del model.metadata_props[:]
    model.metadata_props.extend(props)
    onnx.save(model, given)


PASS = Simplify()
