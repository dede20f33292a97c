"""tensor.data, read and written into."""

from __future__ import annotations

from typing import Any

import torch
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph


def forms(x: torch.Tensor) -> Any:
    scores = x * 2
    scores.data.masked_fill_(x < 0, -1e4)  # as Tacotron 2 masks its attention
    return scores.softmax(-1), (x + 1).data * 3


def test_what_is_written_into_it_reaches_the_tensor() -> None:
    graph = Graph(forms, 1, 20)
    assert graph.wrong([1, 2, 7, 20], Tolerance()) == []
    assert graph.told["written-out"].startswith("wrote out 2 Tensor.data reads ")
