"""recurrent: LSTM, GRU and RNN are captured as ONNX has them, one node a layer, whatever the number of steps.

torch.export writes out each step of the example, so that no other number of steps can be run. Packed sequences depend on
the values of their lengths and can't be traced at all: they are captured as padded ones, whose lengths the nodes take.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from attn_runtime.errors import CaptureError
from torch.jit._trace import is_tracing
from torch.nn.utils.rnn import PackedSequence

from ..recurrent import KINDS, Kind, fold_weights, pack, run_layers, unpack
from ._patch import Effect, Patch, counted
from ._replace import replaced

#: What ONNX Runtime (1.31) runs, float16 by float32. It refuses float64 and bfloat16.
_TYPES = (torch.float32, torch.float16)

Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class _Forward:
    """What the function that a module's forward calls can't see: no state was given; the length of each row."""

    from_zero: bool = False
    lengths: torch.Tensor | None = None


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    running = [_Forward()]
    nodes: Counter[str] = Counter()
    converted: set[str] = set()

    def function(kind: Kind) -> Wrap:
        def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
            def run(x: torch.Tensor, hx: Any, params: Any, *options: Any, **named: Any) -> Any:
                if is_tracing():
                    return original(x, hx, params, *options, **named)
                here = running[-1]
                if isinstance(hx, torch.Tensor) and hx.dtype == torch.int64:  # A packed sequence's batch_sizes.
                    here, hx, params, options = replace(here, lengths=hx), params, options[0], options[1:]
                call = _Call(x, hx, params, *options, **named)
                if not (call.train and call.dropout):
                    if x.dtype not in _TYPES:
                        converted.add(f"{kind.operator} in {str(x.dtype).removeprefix('torch.')}")
                    return call.run(kind, here)
                if here.lengths is None:
                    return original(x, hx, params, *options, **named)
                raise CaptureError(
                    f"a packed sequence goes into {kind.operator} with dropout while training; "
                    "call eval() on the module before the export"
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

    def folding(original: Callable[..., Any]) -> Callable[..., Any]:
        def export(*args: Any, **kwargs: Any) -> Any:
            exported = original(*args, **kwargs)
            if exported is not None:
                nodes.clear()
                nodes.update(fold_weights(exported.model))
            return exported

        return export

    with ExitStack() as stack:
        for name, kind in KINDS.items():
            for owner in (torch._VF, torch):
                operator = getattr(torch.ops.aten, name).input
                stack.enter_context(replaced(owner, name, function(kind), module, operator))
        for layer in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
            stack.enter_context(replaced(layer, "forward", forward))
        for name, ours in (("pack_padded_sequence", pack), ("pad_packed_sequence", unpack)):
            stack.enter_context(replaced(torch.nn.utils.rnn, name, _unless_tracing(ours)))
        stack.enter_context(replaced(torch.onnx, "export", folding))
        yield lambda: _sentence(nodes, converted)


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

    def run(self, kind: Kind, forward: _Forward) -> tuple[torch.Tensor, ...]:
        """(answers, hidden state) and of an LSTM the cell state too."""
        dtype = self.x.dtype if self.x.dtype in _TYPES else torch.float32
        state = None if forward.from_zero else [self.hx] if kind.states == 1 else self.hx
        answer, last = run_layers(
            kind,
            (self.x.transpose(0, 1) if self.batch_first else self.x).to(dtype),
            None if state is None else [s.to(dtype) for s in state],
            [p.to(dtype) for p in self.params],
            has_biases=self.has_biases,
            num_layers=self.num_layers,
            bidirectional=self.bidirectional,
            lengths=forward.lengths,
        )
        return tuple(t.to(self.x.dtype) for t in (answer.transpose(0, 1) if self.batch_first else answer, *last))


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


def _sentence(nodes: Counter[str], converted: set[str]) -> str | None:
    parts = ", ".join(counted(number, f"{operator} node") for operator, number in sorted(nodes.items()))
    in_float32 = f"; {' and '.join(sorted(converted))} computed in float32" if converted else ""
    return f"wrote {parts}: one a layer{in_float32}" if parts else None


PATCH = Patch("recurrent", _enter)
