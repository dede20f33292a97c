"""recurrent: LSTM, GRU and RNN are captured as ONNX has them, one node a layer, whatever the number of steps.

torch.export writes out each step of the example, so that no other number of steps can be run. Packed sequences depend on
the values of their lengths and can't be traced at all: they are captured as padded ones, whose lengths the nodes take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from attn_runtime.errors import CaptureError
from torch.jit._trace import is_tracing
from torch.nn.utils.rnn import PackedSequence

from ..recurrent import KINDS, Kind, fold_weights, pack, run_layers, unpack
from ._patch import Effect, Patch, Tally, counted
from ._replace import replaced

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class _Forward:
    """What the function that a module's forward calls can't see: no state was given; the length of each row."""

    from_zero: bool = False
    lengths: torch.Tensor | None = None


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    tally = Tally()
    running = [_Forward()]

    def function(kind: Kind) -> Wrap:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def run(x: torch.Tensor, hx: Any, params: Any, *options: Any, **named: Any) -> Any:
                if is_tracing():
                    return original(x, hx, params, *options, **named)
                call, lengths = _Call(x, hx, params, *options, **named), running[-1].lengths
                if call.in_inference():
                    for _ in range(call.num_layers):
                        tally.note(f"{kind.operator} layer")
                    return call.run(kind, running[-1].from_zero, lengths)
                if lengths is None:
                    return original(x, hx, params, *options, **named)
                raise CaptureError(
                    f"a packed sequence goes into {kind.operator} of another type than float32, or with dropout while "
                    "training; export the module in float32 and after eval()"
                )

            return run

        return wrap

    def forward(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(self: torch.nn.RNNBase, input: Any, hx: Any = None) -> Any:
            if is_tracing() or not isinstance(input, PackedSequence):
                with _entered(running, _Forward(hx is None)):
                    return original(self, input, hx)
            data, lengths = input.data, input.batch_sizes
            with _entered(running, _Forward(hx is None, lengths)):
                answer, state = original(self, data.transpose(0, 1) if self.batch_first else data, hx)
            return PackedSequence(answer.transpose(0, 1) if self.batch_first else answer, lengths), state

        return run

    with ExitStack() as stack:
        for name, kind in KINDS.items():
            for owner in (torch._VF, torch):
                stack.enter_context(replaced(owner, name, function(kind)))
        for layer in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
            stack.enter_context(replaced(layer, "forward", forward))
        for name, ours in (("pack_padded_sequence", pack), ("pad_packed_sequence", unpack)):
            stack.enter_context(replaced(torch.nn.utils.rnn, name, _unless_tracing(ours)))
        stack.enter_context(replaced(torch.onnx, "export", _folded))
        yield lambda: _sentence(tally.counts)


@dataclass(frozen=True)
class _Call:
    """The arguments of torch.lstm, gru, rnn_tanh and rnn_relu for padded input."""

    x: torch.Tensor
    hx: Any
    params: Sequence[torch.Tensor]
    has_biases: bool
    num_layers: int
    dropout: float
    train: bool
    bidirectional: bool
    batch_first: bool = False

    def in_inference(self) -> bool:
        """Whether it is inference in float32: ONNX Runtime has no kernels for other types."""
        tensors = [self.x, *self.params]
        return all(t.dtype == torch.float32 for t in tensors) and not (self.train and self.dropout)

    def run(self, kind: Kind, from_zero: bool, lengths: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        """(answers, hidden state) and of an LSTM the cell state too."""
        state = None if from_zero else [self.hx] if kind.states == 1 else self.hx
        answer, last = run_layers(
            kind,
            self.x.transpose(0, 1) if self.batch_first else self.x,
            state,
            self.params,
            has_biases=self.has_biases,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            lengths=lengths,
        )
        return (answer.transpose(0, 1) if self.batch_first else answer, *last)


@contextmanager
def _entered(running: list[_Forward], one: _Forward) -> Iterator[None]:
    running.append(one)
    try:
        yield
    finally:
        running.pop()


def _unless_tracing(ours: Callable[..., Any]) -> Wrap:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def either(*args: Any, **kwargs: Any) -> Any:
            return (original if is_tracing() else ours)(*args, **kwargs)

        return either

    return wrap


def _folded(original: Callable[..., Any]) -> Callable[..., Any]:
    def export(*args: Any, **kwargs: Any) -> Any:
        exported = original(*args, **kwargs)
        if exported is not None:
            fold_weights(exported.model)
        return exported

    return export


def _sentence(counts: dict[str, int]) -> str | None:
    parts = [counted(number, noun) for noun, number in sorted(counts.items())]
    return f"wrote {', '.join(parts)} as one ONNX node each" if parts else None


PATCH = Patch("recurrent", _enter)
