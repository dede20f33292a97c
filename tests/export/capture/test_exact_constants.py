"""Numbers that are nearly 0 or 1 stay in a graph, and those that are do not."""

from __future__ import annotations

import math

import torch
from attn_export.capture.exact_constants import exact_constants
from onnxscript.rewriter import _matcher
from torch import nn


class Nearly(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return (x + 1e-9).exp(), (x * 0.999999).exp(), (x + 0.0).exp()


def operators() -> list[str]:
    written = torch.onnx.export(Nearly(), (torch.ones(2),), dynamo=True, verbose=False)
    assert written is not None
    return sorted(node.op_type for node in written.model.graph)


def test_an_epsilon_stays() -> None:
    with exact_constants():
        assert operators() == ["Add", "Exp", "Exp", "Exp", "Mul"]
    assert _matcher.math is math
