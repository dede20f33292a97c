"""A module's graph, exported as attn-export does, held against PyTorch at each of many sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import torch
from attn_export.capture.operator_table import kept_table
from attn_export.capture.patches import applied
from attn_runtime.compare import Tolerance, compare
from torch import nn

Function = Callable[[torch.Tensor], Any]


class Module(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


def floats(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


class Graph:
    """`function`, or a module, exported with `axis` of its input ranging from `first` to `last`.

    skip: patches to leave out. of_size: the input of a size, [2, 3, T] by default.
    """

    def __init__(
        self,
        function: Function,
        first: int,
        last: int,
        of_size: Callable[[int], torch.Tensor] = lambda size: floats(2, 3, size),
        axis: int = -1,
        skip: Iterable[str] = (),
    ) -> None:
        self.module = function if isinstance(function, nn.Module) else Module(function)
        self.of_size, self.sizes = of_size, range(first, last + 1)
        example = of_size((first + last) // 2)
        axes = {axis % example.dim(): torch.export.Dim("size", min=first, max=last)}
        with torch.no_grad(), kept_table(), applied(self.module, skip=tuple(skip)) as told:
            program = torch.export.export(self.module, (example,), dynamic_shapes=(axes,), strict=False)
            written = torch.onnx.export(program, dynamo=True, opset_version=22, verbose=False)
        assert written is not None
        self.model: ir.Model = written.model
        self.told = {a.name: a.did for a in told}
        self.proto = written.model_proto.SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 4
        self.session = onnxruntime.InferenceSession(self.proto, options, providers=["CPUExecutionProvider"])

    def operators(self) -> set[str]:
        return {node.op_type for node in self.model.graph}

    def run(self, x: torch.Tensor) -> list[np.ndarray]:
        inputs = self.session.get_inputs()
        return self.session.run(None, {inputs[0].name: x.numpy()} if inputs else {})  # type: ignore[no-any-return]

    def expected(self, x: torch.Tensor) -> list[np.ndarray]:
        with torch.no_grad():
            answer = self.module(x)
        return [a.numpy() for a in (answer if isinstance(answer, tuple) else (answer,))]

    def wrong(self, sizes: Iterable[int] | None = None, tolerance: Tolerance | None = None) -> list[tuple[int, int]]:
        """(size, output) wherever the graph is not PyTorch's; bit by bit where no tolerance is given."""
        found = []
        for size in sizes or self.sizes:
            x = self.of_size(size)
            for n, (want, got) in enumerate(zip(self.expected(x), self.run(x), strict=True)):
                if tolerance is None:
                    same = want.shape == got.shape and want.dtype == got.dtype and bool((want == got).all())
                else:
                    same = compare("output", want, got, tolerance).passed
                if not same:
                    found.append((size, n))
        return found
