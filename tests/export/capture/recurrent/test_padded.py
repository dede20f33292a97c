"""Packed sequences: what is packed, run and padded again is PyTorch's, row by row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.recurrent.nets import Packed
from support.recurrent.rows_and_steps import ROWS, STEPS, Graph, Inputs, lengths, numbers
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence


def inputs(rows: int, steps: int) -> Inputs:
    return numbers(rows, steps, 16), lengths(rows, steps)


def ordered(rows: int, steps: int) -> Inputs:
    return numbers(rows, steps, 16), lengths(rows, steps).sort(descending=True)[0]


def time_first(rows: int, steps: int) -> Inputs:
    return numbers(steps, rows, 16), lengths(rows, steps)


AXES = [{0: ROWS, 1: STEPS}, {0: ROWS}]


@pytest.mark.parametrize(
    "net, given",
    [
        (Packed("LSTM", "input", bidirectional=True), inputs),
        (Packed("LSTM", proj_size=7, num_layers=2, bidirectional=True), inputs),
        pytest.param(Packed("GRU", 60, padding=3.0, bidirectional=True), inputs, marks=pytest.mark.full),
        pytest.param(Packed("RNN", ordered=True), ordered, marks=pytest.mark.full),
        (Packed("GRU", batch_first=False), time_first),
    ],
    ids=["to the input's length", "projected", "to a number", "in order", "time first"],
)
def test_packed(net: Packed, given: Any) -> None:
    graph = Graph(net, given, AXES if given is not time_first else [{0: STEPS, 1: ROWS}, {0: ROWS}])
    assert graph.wrong() == []


class Classifier(nn.Module):
    """Token ids are packed, then embedded; the last states decide."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.head = nn.Embedding(50, 16), nn.LSTM(16, 24, bidirectional=True), nn.Linear(48, 3)

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(ids, lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(PackedSequence(self.embed(packed.data), *packed[1:]))
        return self.head(torch.cat([h[0], h[1]], -1))  # type: ignore[no-any-return]


def test_packed_before_they_are_embedded() -> None:
    graph = Graph(Classifier(), lambda r, s: (torch.arange(r * s).reshape(r, s) * 7 % 50, lengths(r, s)), AXES)
    assert graph.wrong() == []
