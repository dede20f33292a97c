"""What TensorRT's parser reads as something else, or not at all, in equal operators that it reads (TensorRT-RTX 1.7.1).

GroupNormalization with num_groups=1 becomes the layer that InstanceNormalization is, each channel by itself: here it is
written as InstanceNormalization of one long channel. Scattering with a reduction is refused: `_scatter` has its forms.

For TensorRT alone, and only where the graph has such nodes. A captured graph has no such normalization
(`capture/operators`); a plain file, or a bundle that was made before, may.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
from attn_runtime.child_process import ChildProcess

from ..onnx_graph import GraphInfo, dtype_of, index, load, opset_of
from ._base import PassResult, Rewritten, same_opset
from ._new_nodes import DTYPES, NewNodes, drop_unread, ints
from ._scatter import rewrite_scatter

#: Axes of reductions are inputs from here on.
_OLDEST = 18


def rewrite(model: ir.Model) -> Rewritten:
    """Rewrite, in place, every node that TensorRT would misread. External weights need not be there."""
    nodes = _misread(model)
    if not nodes or opset_of(model) < _OLDEST:
        return Rewritten((), ())
    index(model)
    changed, notes = [], []
    for node in nodes:
        label = f"{node.name or node.outputs[0].name} ({node.op_type})"
        if problem := _normalize(node) if _one_group(node) else rewrite_scatter(node):
            notes.append(f"{label} is left as it is: {problem}")
        else:
            changed.append(label)
    if changed:
        drop_unread(model)
    return Rewritten(tuple(changed), tuple(notes))


def misread(path: Path) -> bool:
    """Whether the file has a node that this pass is for."""
    return bool(_misread(load(path)))


def _misread(model: ir.Model) -> list[ir.Node]:
    return [n for n in model.graph.all_nodes() if n.domain == "" and (_one_group(n) or _reduces(n))]


def _one_group(node: ir.Node) -> bool:
    return node.op_type == "GroupNormalization" and ints(node, "num_groups", 0) == 1


def _reduces(node: ir.Node) -> bool:
    reduction = node.attributes.get("reduction")
    return node.op_type in ("ScatterElements", "ScatterND") and reduction is not None and reduction.value != "none"


def _normalize(node: ir.Node) -> str:
    """x [N, C, ...]; scale and bias are [C], before opset 21 [1]. Why it was left, or ""."""
    x, scale, bias = node.inputs
    assert x is not None and scale is not None and bias is not None
    if dtype_of(x) not in ("float32", "float16", "bfloat16"):
        return f"its type is {dtype_of(x) or 'not known'}"
    dtype = DTYPES[dtype_of(x)]
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    new = NewNodes(node)
    whole = new.reshape(x, 0, 1, -1)
    one, nothing = new.constant([1.0], dtype), new.constant([0.0], dtype)
    whole = new.add("InstanceNormalization", whole, one, nothing, epsilon=epsilon)
    channels = new.add("Concat", new.sizes(x, 0, 2), new.constant([-1]), axis=0)
    behind = new.constant([1])
    rows = new.add("Mul", new.add("Reshape", whole, channels), new.add("Unsqueeze", scale, behind))
    rows = new.add("Add", rows, new.add("Unsqueeze", bias, behind))
    new.replace(new.add("Reshape", rows, new.sizes(x, 0)))
    return ""


class TensorRT:
    name = "tensorrt"
    summary = "write what TensorRT reads wrongly or not at all in equal operators that it reads (for TensorRT alone)"

    def requires(self, before: GraphInfo) -> str:
        return "" if before.opset >= _OLDEST else f"it needs opset {_OLDEST} or later, and the graph has {before.opset}"

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        model = load(source)
        return rewrite(model).result(model, source, target, "TensorRT reads it as it is")

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        return same_opset(before, after)


PASS = TensorRT()
