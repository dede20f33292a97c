"""Products in front of a logarithm: what takes the spectrum of a sound inside the graph, above all.

A logarithm tells small values apart as it does large ones, and eight bits do not: quiet sounds of a recording come out as the
rounding of loud ones. A spectrum of drawn noise is loud everywhere, so that golden cases of noise do not show it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import onnx

from .sites import Site

#: What an error goes through with its size unchanged, or by what is multiplied and summed alone. Activations, softmax and norms
#: bring values into a range of their own, and end the way.
_SUMS = frozenset({"Add", "Conv", "Gemm", "MatMul", "ReduceMean", "ReduceSum", "Sub", "Sum"})
_POWERS = frozenset({"Abs", "Div", "Mul", "Neg", "Pow", "ReduceL2", "ReduceSumSquare", "Sqrt"})
_CHOICES = frozenset({"Clip", "Gather", "Max", "Min", "ReduceMax", "Slice", "Split", "Where"})
_PLACES = frozenset({"Cast", "Concat", "Identity", "Pad", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_PASSED = _SUMS | _POWERS | _CHOICES | _PLACES


def before_logarithms(model: onnx.ModelProto, sites: Sequence[Site]) -> Collection[str]:
    """The nodes of `sites` whose products reach a Log with nothing but sums, products and powers between."""
    made = {name: node for node in model.graph.node for name in node.output}
    waiting = [name for node in model.graph.node if node.op_type == "Log" for name in node.input]
    seen: set[str] = set()
    passed: set[str] = set()
    while waiting:
        name = waiting.pop()
        node = made.get(name)
        if name in seen or node is None or node.op_type not in _PASSED:
            continue
        seen.add(name)
        passed.add(node.name)
        waiting.extend(node.input)
    return {site.node for site in sites if site.node in passed}
