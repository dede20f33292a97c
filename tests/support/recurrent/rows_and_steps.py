"""A module over rows and steps, exported as attn-export does, held against PyTorch at several numbers of both."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
import onnxruntime
import torch
from attn_export.capture.operator_table import kept_table
from attn_export.capture.patches import applied
from attn_runtime.compare import Tolerance, compare
from torch import nn
from torch.utils import _pytree as pytree

ROWS, STEPS = torch.export.Dim("rows", min=1, max=4), torch.export.Dim("steps", min=1, max=60)
SIZES = [(1, 1), (1, 2), (3, 1), (3, 15), (1, 60), (3, 60)]

Inputs = tuple[torch.Tensor, ...]


class Graph:
    """`inputs(rows, steps)` are the module's; axes: of each, by axis, ROWS or STEPS. skip: patches to leave out."""

    def __init__(
        self, module: nn.Module, inputs: Callable[[int, int], Inputs], axes: Sequence[Any], skip: Sequence[str] = ()
    ) -> None:
        self.module, self.inputs = module.eval(), inputs
        with torch.no_grad(), warnings.catch_warnings(), kept_table(), applied(module, skip=skip) as told:
            # torch.export warns of every module that keeps its weights in a list too, as nn.LSTM does.
            warnings.filterwarnings("ignore", "The tensor attributes")
            program = torch.export.export(module, inputs(2, 15), dynamic_shapes=tuple(axes), strict=False)
            written = torch.onnx.export(program, dynamo=True, opset_version=22, verbose=False)
        assert written is not None
        self.model: ir.Model = written.model
        self.told = {a.name: a.did for a in told}
        self.proto = written.model_proto.SerializeToString()

    def operators(self) -> Counter[str]:
        return Counter(node.op_type for node in self.model.graph)

    def stored(self) -> int:
        """Numbers in float tensors that the file holds."""
        tensors = [v.const_value for v in self.model.graph.initializers.values()]
        return sum(t.size for t in tensors if t is not None and t.dtype.is_floating_point())

    def wrong(self, sizes: Sequence[tuple[int, int]] = SIZES, tolerance: Tolerance | None = None) -> list[str]:
        """Where an output differs from PyTorch's, in its shape too."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        session = onnxruntime.InferenceSession(self.proto, options, providers=["CPUExecutionProvider"])
        found = []
        for rows, steps in sizes:
            given = self.inputs(rows, steps)
            with torch.no_grad():
                expected = pytree.tree_leaves(self.module(*given))
            feed = {i.name: t.numpy() for i, t in zip(session.get_inputs(), given, strict=True)}
            for at, (want, got) in enumerate(zip(expected, session.run(None, feed), strict=True)):
                if not compare("output", want.numpy(), got, tolerance or Tolerance()).passed:
                    found.append(f"output {at} at {rows} rows, {steps} steps")
        return found


def numbers(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def lengths(rows: int, steps: int) -> torch.Tensor:
    """Unsorted, the longest of them shorter than `steps` where there is more than one row."""
    return torch.randint(1, steps + 1, (rows,), generator=torch.Generator().manual_seed(rows + steps))
