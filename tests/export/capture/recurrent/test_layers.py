"""Every kind of recurrent layer against PyTorch's, at one step and at many."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from attn_export.capture.recurrent import KINDS, run_layers
from support.recurrent.nets import BothWaysByHand, Layers
from support.recurrent.rows_and_steps import ROWS, STEPS, Graph, Inputs, numbers


def inputs_of(net: Layers, with_state: bool) -> tuple[Callable[[int, int], Inputs], Any]:
    layers = net.layers
    states = layers.num_layers * (2 if layers.bidirectional else 1)
    widths = [layers.proj_size or 24, 24][: 2 if isinstance(layers, torch.nn.LSTM) else 1] if with_state else []

    def inputs(rows: int, steps: int) -> Inputs:
        x = numbers(rows, steps, 16) if layers.batch_first else numbers(steps, rows, 16)
        return x, *(numbers(states, rows, width) for width in widths)

    axes = [{0: ROWS, 1: STEPS} if layers.batch_first else {0: STEPS, 1: ROWS}]
    return inputs, [*axes, *([tuple({1: ROWS} for _ in widths)] if widths else [])]


STACKED = {"num_layers": 2, "bidirectional": True}


@pytest.mark.parametrize(
    "kind, options, with_state",
    [
        ("LSTM", {"batch_first": True}, False),
        ("LSTM", {**STACKED, "dropout": 0.5}, True),
        pytest.param("LSTM", {"bidirectional": True, "bias": False}, False, marks=pytest.mark.full),
        pytest.param("LSTM", {"proj_size": 10, "batch_first": True}, False, marks=pytest.mark.full),
        ("LSTM", {"proj_size": 10, **STACKED}, True),
        ("GRU", {}, True),
        ("GRU", {**STACKED, "batch_first": True}, False),
        pytest.param("GRU", {"bias": False}, False, marks=pytest.mark.full),
        ("RNN", {**STACKED, "batch_first": True}, True),
        pytest.param(
            "RNN", {"nonlinearity": "relu", "bias": False, "bidirectional": True}, False, marks=pytest.mark.full
        ),
    ],
)
def test_a_layer_is_one_node(kind: str, options: dict[str, Any], with_state: bool) -> None:
    torch.manual_seed(0)
    net = Layers(kind, **options)
    inputs, axes = inputs_of(net, with_state)
    graph = Graph(net, inputs, axes)
    assert graph.wrong() == []
    assert graph.operators()[kind] == options.get("num_layers", 1)
    assert not {"Loop", "Scan", "Split"} & set(graph.operators())
    if "proj_size" not in options:
        assert graph.stored() == sum(p.numel() for p in net.parameters())


def test_one_row_without_its_axis() -> None:
    graph = Graph(Layers("LSTM", **STACKED), lambda rows, steps: (numbers(steps, 16),), [{0: STEPS}])
    assert graph.wrong() == []


def test_directions_made_by_flipping() -> None:
    graph = Graph(
        BothWaysByHand(),
        lambda rows, steps: (numbers(rows, steps, 16), torch.arange(rows) % steps + 1),
        [{0: ROWS, 1: STEPS}, {0: ROWS}],
    )
    assert graph.wrong() == []
    assert graph.operators()["LSTM"] == 3


def test_no_state_is_no_input_of_the_node() -> None:
    """A state of zeros would be a tensor as large as the batch; and the projection's first state a wider input."""
    net = Layers("LSTM", proj_size=10)
    [node] = [n for n in Graph(net, *inputs_of(net, False)).model.graph if n.op_type == "LSTM"]
    assert [value is not None for value in node.inputs[4:]] in ([], [False] * 3)
    assert node.inputs[1].shape == [1, 96, 16]


@pytest.mark.parametrize("kind", KINDS)
def test_shapes(kind: str) -> None:
    """What is traced has the shapes that are told, without any value."""
    gates = len(KINDS[kind].order) * 24
    params = [torch.empty(gates, width) for width in (16, 24)] * 2 + [
        torch.empty(gates, width) for width in (48, 24)
    ] * 2
    with torch.device("meta"):
        answer, last = run_layers(
            KINDS[kind], torch.empty(5, 3, 16), None, params, has_biases=False, num_layers=2, bidirectional=True
        )
    assert answer.shape == (5, 3, 48)
    assert [state.shape for state in last] == [(4, 3, 24)] * KINDS[kind].states
