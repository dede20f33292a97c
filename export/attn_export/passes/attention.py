"""Attention that TensorRT can't fuse, written so that it can: the same numbers from equal heads.

For TensorRT alone: on other engines the repeated queries and keys are more arithmetic for nothing, so this pass is not
in the default order. docs/attention/fusion.md says what it gains.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
from attn_runtime.child_process import ChildProcess

from ..attention import Rewriter, Unchanged, matches, opset_problem, plan, written_out
from ..onnx_graph import GraphInfo, index, load, opset_of
from ._base import PassResult, Rewritten, same_opset


def rewrite(model: ir.Model) -> Rewritten:
    """Rewrite, in place, every block that TensorRT does not fuse as it is and that has an equal form which it does.

    Precision makes no difference to what is done: a block in fp32 is written so that it fuses once it is in half precision.
    Names of inputs, outputs and of the blocks' own nodes stay; external weights need not be there.
    """
    changed: list[str] = []
    notes: list[str] = []
    index(model)
    rewriter = Rewriter(model.graph)
    blocks = [(match, written_out(match)) for match in matches(model)]
    decided = [(match, block, plan(match, block)) for match, block in blocks]  # all of them before the first change
    for match, block, result in decided:
        if isinstance(result, Unchanged):
            if result.reason:
                notes.append(f"{block.label} is left as it is: {result.reason}")
        elif problem := opset_problem(opset_of(model)):
            notes.append(f"{block.label} is left as it is: {problem}")
        else:
            rewriter.rewrite(match, result)
            changed.append(block.label)
    return Rewritten(tuple(changed), tuple(notes))


class Attention:
    name = "attention"
    summary = "write attention that TensorRT can't fuse in an equal form that it can (for TensorRT alone)"

    def requires(self, before: GraphInfo) -> str:
        return opset_problem(before.opset)

    def run(self, source: Path, target: Path, isolated: ChildProcess) -> PassResult:
        model = load(source)
        return rewrite(model).result(model, source, target, "every block can be fused as it is")

    def ensures(self, before: GraphInfo, after: GraphInfo) -> str:
        if changed := same_opset(before, after):
            return changed
        if after.data_files != before.data_files:
            return f"its weights lay in {before.data_files} and lie in {after.data_files}"
        return ""


PASS = Attention()
