"""A module whose answers depend on what it was asked before is refused, and one that only keeps things is not."""

from __future__ import annotations

import collections
from typing import Any

import pytest
import torch
from attn_export.reference import Signature, corner_cases, record_answers
from attn_export.reference.module_state import ModuleState
from attn_export.reference.repeated_answers import asked_again, refuse_shared_state
from attn_export.source.input_specs import parse_dims, parse_inputs
from attn_runtime.bundle import Arrays, Case
from attn_runtime.compare import Tolerance
from attn_runtime.errors import CaptureError
from torch import Tensor, nn

CALLS = 0


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 2, 4))
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("unset", None)
        self.ready, self.table, self.cache, self.history = False, torch.ones(1, 4), {}, collections.deque(maxlen=3)
        self.proj: nn.Module | None = None


class ActNorm(Base):
    """Initialised by its first batch (Glow, arXiv:1807.03039)."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.scale.data.copy_(1 / (x.std((0, 1), unbiased=False) + 0.5))
            self.ready = True
        return x * self.scale


class LazyMean(Base):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "first"):
            self.first = x.mean((0, 1))
        return x - self.first


class LazyBuffer(Base):
    def forward(self, x: Tensor) -> Tensor:
        if self.unset is None:
            self.unset = x.mean((0, 1))
        return x - self.unset


class LazyLayer(Base):
    def forward(self, x: Tensor) -> Tensor:
        self.proj = self.proj or nn.Linear(4, 4)
        return self.proj(x)


class BufferInit(Base):
    def forward(self, x: Tensor) -> Tensor:
        if not self.ready:
            self.mean.copy_(x.mean((0, 1)))
            self.ready = True
        return x - self.mean


class Counter(Base):
    n = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n += 1
        return x * (1.0 if self.n < 50 else 2.0)


class LongCalls(Base):
    n = 0

    def forward(self, x: Tensor) -> Tensor:
        self.n += x.shape[1] > 8
        return x * (1.0 if self.n < 50 else 2.0)


class Nested(Base):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Counter(), Counter()])

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class GlobalCounter(Base):
    def forward(self, x: Tensor) -> Tensor:
        global CALLS
        CALLS += 1
        return x * (1.0 if CALLS < 5000 else 2.0)


class Average(Base):
    def forward(self, x: Tensor) -> Tensor:
        self.table = 0.9 * self.table + 0.1 * x.mean((0, 1))
        return x - self.table


class SilentAverage(Base):
    """Read by nobody now; the next version of it will."""

    def forward(self, x: Tensor) -> Tensor:
        self.table.mul_(0.9).add_(0.1 * x.mean((0, 1)))
        return x * 2


class History(Base):
    def forward(self, x: Tensor) -> Tensor:
        self.history.append(x.mean().item())
        return x + sum(self.history)


class Largest(Base):
    largest = 0

    def forward(self, x: Tensor) -> Tensor:
        self.largest = max(self.largest, x.shape[1])
        return x / self.largest


REFUSED = {
    ActNorm: "changes its parameter scale in eval mode",
    BufferInit: "changes its buffer mean in eval mode",
    LazyMean: r"depend on what the module was asked before.*its calls set its first \(unset -> float32\[4\]",
    LazyBuffer: r"its calls set its unset \(unset -> float32\[4\]",
    LazyLayer: r"its calls set its proj \(None -> Linear\)",
    Average: r"its calls set its table \(float32\[1, 4\] 1, 1, ... -> ",
    SilentAverage: r"keep changing its table \(float32\[1, 4\] ",
    History: r"its calls set its history \(deque of 0 -> deque of 3\)",
    Largest: r"its calls set its largest \(0 -> 16\)",
    Counter: r"keep changing its n \(6 -> 12\)",
    LongCalls: r"keep changing its n \(\d -> \d\)",
    Nested: r"keep changing its blocks.0.n \(6 -> 12\), blocks.1.n \(6 -> 12\)",
    GlobalCounter: r"CALLS \(a global\) \(6 -> 12\)",
}


class Rotary(Base):
    """A table of rotary embeddings that grows, as in Llama's first implementations."""

    longest = 0

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] > self.longest:
            self.longest = x.shape[1]
            self.register_buffer("cos", torch.arange(self.longest).float().cos()[:, None], persistent=False)
        return x * self.cos[: x.shape[1]]


class BySize(Base):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] not in self.cache:
            self.cache[x.shape[1]] = torch.arange(x.shape[1]).float()[:, None]
        return x * self.cache[x.shape[1]]


class StoredMap(Base):
    def forward(self, x: Tensor) -> Tensor:
        self.attention = (x @ x.transpose(1, 2)).softmax(-1)
        self.length, self.last = x.shape[1], x
        self.history.append(self.attention)
        return self.attention @ x


class Recomputed(Base):
    """weight_norm before parametrizations: a plain attribute made anew by every call."""

    def forward(self, x: Tensor) -> Tensor:
        self.weight = self.scale / self.scale.norm()
        return x * self.weight


class Guarded(Base):
    n = 0

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.n += 1
            self.mean.copy_(x.mean((0, 1)))
        return x - self.mean


HONEST = [Rotary, BySize, StoredMap, Recomputed, Guarded]


def _ask(module: nn.Module, dims: str = "T=2:4:16") -> list[Case[Arrays]]:
    inputs = parse_inputs(["x:float32[B,T,4]"], parse_dims(["B=1:2:3", dims]))
    return record_answers(Signature(module.eval(), inputs), corner_cases(inputs), 0)


@pytest.mark.parametrize("net", REFUSED, ids=lambda net: net.__name__)
def test_state_is_refused_and_named(net: type[nn.Module]) -> None:
    with pytest.raises(CaptureError, match=REFUSED[net]) as caught:
        _ask(net())
    assert caught.value.exit_code == 3
    assert "if self.training" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("net", HONEST, ids=lambda net: net.__name__)
def test_what_a_module_keeps_for_itself_is_not(net: type[nn.Module]) -> None:
    assert len(_ask(net())) == 8  # six sizes, and large and tiny inputs


@pytest.mark.parametrize("net", [ActNorm, BufferInit])
def test_weights_are_put_back(net: type[Base]) -> None:
    module = net()
    weights = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.raises(CaptureError):
        _ask(module)
    assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    assert not module.ready


def test_weights_that_were_too_large_to_copy_are_said_to_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("attn_export.reference.module_state.MOST_COPIED", 0)
    with pytest.raises(CaptureError, match="parameter scale.*load the weights again"):
        _ask(ActNorm())


@pytest.mark.parametrize("net", [LazyMean, LazyLayer])
def test_of_a_single_case_another_input_comes_first(net: type[nn.Module]) -> None:
    inputs = parse_inputs(["x:float32[2,4,4]"], {})
    with pytest.raises(CaptureError, match="asked before"):
        record_answers(Signature(net().eval(), inputs), corner_cases(inputs), 0)


def test_weights_that_are_not_there_yet() -> None:
    with pytest.raises(CaptureError, match=r"0.weight, 0.bias of the module are not initialised"):
        _ask(nn.Sequential(nn.LazyLinear(4)))


def test_the_order_is_another_one_and_a_slow_model_is_asked_less() -> None:
    outputs = [1, 9, 30, 5, 20, 8]
    assert asked_again(outputs, [0.5] * 6) == [5, 4, 3, 2, 1, 0]
    assert asked_again(outputs, [1.0] * 6) == [5, 3, 2, 0]
    # The largest would take as long again: the largest of the others is asked.
    assert asked_again(outputs, [0.1, 0.5, 9.0, 0.2, 1.0, 0.3]) == [5, 4, 3, 0]
    assert asked_again(outputs, [6.0] * 6) == [5, 3, 0]
    assert asked_again([1], [9.0]) == asked_again([1], [0.0]) == [0]


class Memory(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        self.memory = x * 2
        return self.memory


class Reads(nn.Module):
    """The second graph of a model, which reads what the first one's last call has left."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        return x + self.first.memory.mean()  # type: ignore[operator,union-attr]


class ReadsNot(Reads):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1


@pytest.mark.parametrize(("second", "refused"), [(Reads, True), (ReadsNot, False)])
def test_one_graph_may_not_read_what_another_leaves(second: type[Reads], refused: bool) -> None:
    first = Memory()
    modules: dict[str, nn.Module] = {"encoder": first, "decoder": second(first)}
    before = ModuleState(*modules.values(), weights=False)
    graphs: list[tuple[str, Case[Arrays], Any]] = []
    for name, module in modules.items():
        inputs = parse_inputs(["x:float32[B,3]"], parse_dims(["B=1:2:3"]))
        signature = Signature(module.eval(), inputs)
        answers = record_answers(signature, corner_cases(inputs), 0)

        def ask(case: Case[Arrays], signature: Signature = signature) -> Case[Arrays]:
            from attn_export.reference import run_module

            return run_module(signature, case, case.inputs)

        graphs.append((name, answers[0], ask))
    kept = first.memory
    if refused:
        with pytest.raises(CaptureError, match=r"graph decoder fails .* what they leave in the module: memory"):
            refuse_shared_state(before, graphs, Tolerance())
    else:
        refuse_shared_state(before, graphs, Tolerance())
    assert first.memory is kept
