"""Weights are stored once, as the nodes read them, whatever they were computed from."""

from __future__ import annotations

import pytest
import torch
from support.recurrent.rows_and_steps import ROWS, STEPS, Graph, Inputs, numbers
from torch import nn

# The weights of each gate have over 512 x 512 numbers: more than is folded where nobody asks for it.
WIDTH = 520


def inputs(rows: int, steps: int) -> Inputs:
    return (numbers(rows, steps, WIDTH),)


AXES = [{0: ROWS, 1: STEPS}]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y, h = self.gru(x)
        return self.gru(y, h)[0]  # type: ignore[no-any-return]


def test_a_layer_that_is_called_twice_is_stored_once() -> None:
    graph = Graph(Twice(), inputs, AXES)
    assert graph.wrong([(1, 1), (3, 15)]) == []
    assert graph.stored() == sum(p.numel() for p in graph.module.parameters())


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        for name in ("weight_ih_l0", "weight_hh_l0"):
            nn.utils.weight_norm(self.lstm, name)
            getattr(self.lstm, f"{name}_g").data.mul_(1.5)
        self.table = nn.Parameter(numbers(WIDTH, WIDTH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lstm(x)[0] + self.table.sin().sum(0)  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_computed_weights_are_stored_as_computed_and_nothing_else() -> None:
    graph = Graph(Normalised(), inputs, AXES)
    assert graph.wrong([(1, 1), (3, 15)]) == []
    assert graph.stored() == 9 * WIDTH * WIDTH + 8 * WIDTH
    assert set(graph.operators()) == {"Transpose", "LSTM", "Squeeze", "Sin", "ReduceSum", "Add"}


class WeightsOfTheInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.make, self.r = nn.Linear(WIDTH, 72), nn.Parameter(numbers(72, 24) / 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.make(x[0].mean(0)).unsqueeze(-1) * torch.ones(WIDTH) / WIDTH
        params, state = [w, self.r], torch.zeros(1, x.shape[0], 24)
        return torch.gru(x, state, params, False, 1, 0.0, False, False, True)[0]


def test_weights_of_the_input_stay_computed() -> None:
    assert Graph(WeightsOfTheInput(), inputs, AXES).wrong([(1, 1), (3, 15)]) == []
