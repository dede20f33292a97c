"""Recurrent layers of PyTorch as nodes of ONNX: one LSTM, GRU or RNN node a layer, both directions in it.

The formulas are those of https://onnx.ai/onnx/operators/ (LSTM-14, GRU-14, RNN-14) and of torch.nn.LSTM, GRU and RNN.
They differ in the order of the gates, which is the order of the rows of each weight.

A projection (proj_size) is no part of ONNX's LSTM. It is linear, so it moves into the weights: with m = o * tanh(c),
h = P m, the gates read W x + R h = W x + (R P) m. The node runs on m, and P is applied to its answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

Tensor = torch.Tensor


@dataclass(frozen=True)
class Kind:
    """operator: ONNX's. order: PyTorch's number of each gate, in ONNX's order. states: 2 with a cell state."""

    operator: str
    order: tuple[int, ...]
    attributes: dict[str, Any]
    states: int = 1


#: By the function's name below torch._VF. PyTorch has the gates i f g o and r z n, ONNX i o f g and z r n.
KINDS = {
    "lstm": Kind("LSTM", (0, 3, 1, 2), {}, states=2),
    # In PyTorch the reset gate is applied after the product with the recurrent weight.
    "gru": Kind("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "rnn_tanh": Kind("RNN", (0,), {"activations": "Tanh"}),
    "rnn_relu": Kind("RNN", (0,), {"activations": "Relu"}),
}


@dataclass(frozen=True)
class _Weights:
    """Of one layer in one direction: [G * H, I], [G * H, P or H], twice [G * H], [P, H]."""

    w: Tensor
    r: Tensor
    biases: list[Tensor]
    projection: Tensor | None


def run_layers(
    kind: Kind,
    x: Tensor,
    state: Sequence[Tensor] | None,
    params: Sequence[Tensor],
    *,
    has_biases: bool,
    num_layers: int,
    bidirectional: bool,
    lengths: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """x [T, B, I] -> the last layer's answers [T, B, D * P] and each state, [layers * D, B, P or H].

    D is 2 for both directions, P the projected size or else H. state: as the answer's, or None for zeros. lengths:
    int64 [B], steps that count in each row, from the first one on; answers beyond are 0.
    """
    directions = 2 if bidirectional else 1
    weights = list(_weights(params, has_biases, num_layers * directions))
    ends: list[list[Tensor]] = [[] for _ in range(kind.states)]
    for layer in range(num_layers):
        here = slice(layer * directions, (layer + 1) * directions)
        given = None if state is None else [s[here] for s in state]
        x, last = _layer(kind, x, given, weights[here], lengths)
        for end, one in zip(ends, last, strict=True):
            end.append(one)
    return x, tuple(end[0] if num_layers == 1 else torch.cat(end) for end in ends)


def _weights(params: Sequence[Tensor], has_biases: bool, count: int) -> Iterator[_Weights]:
    each = len(params) // count
    for at in range(0, count * each, each):
        w, r, *rest = params[at : at + each]
        at_projection = 2 if has_biases else 0
        yield _Weights(w, r, rest[:at_projection], rest[at_projection] if rest[at_projection:] else None)


def _layer(
    kind: Kind, x: Tensor, state: Sequence[Tensor] | None, weights: Sequence[_Weights], lengths: Tensor | None
) -> tuple[Tensor, list[Tensor]]:
    """x [T, B, I] -> [T, B, D * P] and the states after the last step, [D, B, P or H]."""
    steps, batch = x.shape[:2]
    directions, hidden = len(weights), weights[0].w.shape[0] // len(kind.order)
    inputs = [one.w for one in weights]
    recurrent = [one.r if one.projection is None else _product(one.r, one.projection) for one in weights]
    initial: list[Tensor | None] = [None, None] if state is None else [*state]
    if weights[0].projection is not None and state is not None:
        # No state before the first step gives the projected one in general: it enters with the first input instead.
        x = torch.cat([x, *_first_inputs(state[0], steps, lengths)], -1)
        inputs = [_beside(one, at, directions) for at, one in enumerate(weights)]
        initial[0] = None
    biases = [torch.cat([_ordered(kind, b) for b in one.biases]) for one in weights if one.biases]
    attributes = {
        "hidden_size": hidden,
        "direction": "bidirectional" if directions == 2 else "forward",
        **{k: [v] * directions if k == "activations" else v for k, v in kind.attributes.items()},
    }
    shape = [directions, batch, hidden]
    answer, *last = torch.onnx.ops.symbolic_multi_out(
        kind.operator,
        [
            x,
            torch.stack([_ordered(kind, w) for w in inputs]),
            torch.stack([_ordered(kind, r) for r in recurrent]),
            torch.stack(biases) if biases else None,
            None if lengths is None else lengths.to(torch.int32),
            *initial[: kind.states],
        ],
        attributes,
        dtypes=[x.dtype] * (1 + kind.states),
        shapes=[[steps, *shape], *[shape] * kind.states],
    )
    if weights[0].projection is not None:
        projections = torch.stack([one.projection.t() for one in weights])  # type: ignore[union-attr]
        answer, last[0] = answer @ projections, last[0] @ projections
    return (answer.squeeze(1) if directions == 1 else answer.permute(0, 2, 1, 3).flatten(2)), last


def _ordered(kind: Kind, weight: Tensor) -> Tensor:
    """A weight's gates, its first axis, in ONNX's order."""
    if len(kind.order) == 1:
        return weight
    size = weight.shape[0] // len(kind.order)
    # Slices, not chunks: a Split is not folded into a constant (onnxscript 0.7).
    return torch.cat([weight[at * size : (at + 1) * size] for at in kind.order])


def _product(r: Tensor, projection: Tensor) -> Tensor:
    """In double precision: it is computed once, and every step's error follows from it."""
    return (r.double() @ projection.double()).to(r.dtype)


def _first_inputs(state: Tensor, steps: int, lengths: Tensor | None) -> list[Tensor]:
    """state [D, B, P] -> D times [T, B, P]: the state at the direction's first step, else 0."""
    step = torch.arange(steps).unsqueeze(-1)
    last = torch.full((1,), steps - 1, dtype=torch.int64) if lengths is None else lengths - 1
    first = [step == 0, step == last][: len(state)]
    zero = torch.zeros((), dtype=state.dtype)
    return [torch.where(at.unsqueeze(-1), one, zero) for at, one in zip(first, state, strict=True)]


def _beside(one: _Weights, at: int, directions: int) -> Tensor:
    """The input weight, [G * H, I + D * P], of inputs with the D first states behind them."""
    return torch.cat([one.w, *(one.r if d == at else torch.zeros_like(one.r) for d in range(directions))], 1)
