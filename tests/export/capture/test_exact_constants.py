"""Numbers that are nearly 0 or 1 stay in a graph, and those that are do not."""

from __future__ import annotations

import math

import numpy as np
import onnxruntime
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


class Clipped(nn.Module):
    """Each is a Min and a Max, which become one Clip, or one of the two."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        six, one, four, two = (torch.tensor(value) for value in (6.0, 1.0, 4.0, 2.0))
        return (
            x.minimum(six).maximum(one),
            x.minimum(four).maximum(two),
            x.maximum(two).minimum(four),
            x.maximum(one).minimum(six),
            x.minimum(six).minimum(four),
            x.minimum(two).minimum(one),
        )


def test_several_pairs_on_one_tensor_keep_their_constants() -> None:
    x = torch.arange(-2.0, 9.0)
    with exact_constants():
        written = torch.onnx.export(Clipped(), (x,), dynamo=True, verbose=False)
    assert written is not None
    assert sum(node.op_type == "Clip" for node in written.model.graph) == 2, "what this is about"
    session = onnxruntime.InferenceSession(written.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    for answer, expected in zip(found, Clipped()(x), strict=True):
        assert np.array_equal(answer, expected.numpy())
