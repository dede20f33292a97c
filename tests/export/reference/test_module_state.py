"""A snapshot of what a module remembers sees each place where Python keeps something, and puts it back."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from attn_export.reference.module_state import MOST_COPIED, ModuleState, fingerprint, preserved
from torch import nn

STEPS = 0


def _step() -> None:
    global STEPS
    STEPS += 1


def _default(seen: list[int] = []) -> None:  # noqa: B006  that it keeps something is what is looked for
    seen.append(len(seen))


class Slotted:
    __slots__ = ("n",)

    def __init__(self) -> None:
        self.n = 0


class Net(nn.Module):
    shared = 0
    scale = 2.0

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(3, 3)
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("later", None)
        self.blocks = nn.ModuleList([nn.ReLU(), nn.ReLU()])
        self.hidden = [nn.ReLU()]
        self.n, self.name, self.table = 0, "a", torch.arange(3.0)
        self.cache: dict[Any, Any] = {"a": torch.zeros(2), 3: [1, 2]}
        self.history = collections.deque([1.0, 2.0], maxlen=2)
        self.seen = {1}
        self.array = np.zeros(3)
        self.object = SimpleNamespace(n=0, deep=Slotted())
        self.count = itertools.count()


def _state(*modules: nn.Module) -> ModuleState:
    return ModuleState(*modules)


CHANGES: dict[str, Callable[[Any], Any]] = {
    "n": lambda net: setattr(net, "n", 1),
    "scale": lambda net: setattr(net, "scale", 3.0),
    "Net.shared of the class": lambda net: setattr(Net, "shared", 1),
    "name": lambda net: setattr(net, "name", "b"),
    "fresh": lambda net: setattr(net, "fresh", 1),
    "table": lambda net: net.table.add_(1),
    "later": lambda net: setattr(net, "later", torch.zeros(3)),
    "blocks.1.n": lambda net: setattr(net.blocks[1], "n", 1),
    "hidden[0].n": lambda net: setattr(net.hidden[0], "n", 1),
    "blocks.2": lambda net: net.blocks.append(nn.Linear(2, 2)),
    "cache['a']": lambda net: net.cache["a"].add_(1),
    "cache[3]": lambda net: net.cache[3].append(1),
    "cache": lambda net: net.cache.update(b=1),
    "history[0]": lambda net: net.history.append(2.0),
    "seen": lambda net: net.seen.add(2),
    "array": lambda net: net.array.__iadd__(1),
    "object.n": lambda net: setattr(net.object, "n", 1),
    "object.deep.n": lambda net: setattr(net.object.deep, "n", 1),
    f"{__name__}.STEPS (a global)": lambda net: _step(),
    "_default, default 0": lambda net: _default(),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_named_and_put_back(name: str) -> None:
    net = Net()
    before = _state(net)
    assert not before.changes(_state(net))
    CHANGES[name](net)
    assert name in [change.name for change in before.changes(_state(net))]
    assert before.restore()
    assert not before.changes(_state(net))


def test_what_closes_over_a_number() -> None:
    calls = 0

    class Closing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            nonlocal calls
            calls += 1
            return x

    before = _state(net := Closing())
    net(torch.zeros(1))
    (change,) = before.changes(_state(net))
    assert str(change) == "Closing.forward, its variable calls (0 -> 1)"
    before.restore()
    assert calls == 0


def test_an_iterator_that_went_on_is_seen() -> None:
    before = _state(net := Net())
    next(net.count)
    assert [str(change) for change in before.changes(_state(net))] == ["count ('count(0)' -> 'count(1)')"]


def test_weights_by_name_and_kind() -> None:
    before = _state(net := Net())
    net.lin.weight.data[0, 0] += 1
    net.mean.add_(1)
    now = _state(net)
    assert before.changed_weights(now) == ["buffer mean", "parameter lin.weight"]
    assert not before.changes(now), "their contents are told of by changed_weights alone"
    before.restore()
    assert not before.changed_weights(_state(net))


def test_a_buffer_that_is_written_with_its_own_values_has_not_changed() -> None:
    net = Net()
    net.mean[0] = float("nan")
    before = _state(net)
    net.mean.copy_(net.mean.clone())
    net.mean[1] = -0.0
    assert not before.changed_weights(_state(net))


def test_a_buffer_of_another_size_is_a_change_and_no_changed_weight() -> None:
    before = _state(net := Net())
    net.mean = torch.zeros(5)
    now = _state(net)
    assert [change.name for change in before.changes(now)] == ["mean"]
    assert not before.changed_weights(now)


def test_a_new_submodule_is_told_of_once() -> None:
    before = _state(net := Net())
    net.extra = nn.Sequential(nn.Linear(2, 2))
    assert [str(change) for change in before.changes(_state(net))] == ["extra (unset -> Sequential)"]
    before.restore()
    assert "extra" not in dict(net.named_children())


def test_an_attribute_that_is_rounded_otherwise_is_the_same() -> None:
    net = Net()
    net.table, net.n = torch.tensor([1.0, 0.0]), 1.0
    before = _state(net)
    net.table, net.n = torch.tensor([1.0 + 2e-7, 1e-8]), 1.0 + 1e-9
    assert not before.changes(_state(net))
    net.table = torch.tensor([1.0 + 1e-5, 0.0])
    assert before.changes(_state(net))


def test_the_callers_module_is_left_as_it_came() -> None:
    net = Net()
    cache, table = net.cache, net.table
    with pytest.raises(RuntimeError, match="stopped"), preserved(net):
        net.cache["new"], net.n, net.table, net.added = 1, 5, torch.ones(9), True
        net.register_buffer("extra", torch.ones(1))
        raise RuntimeError("stopped")
    assert net.cache is cache and list(cache) == ["a", 3]
    assert net.table is table and net.n == 0
    assert not hasattr(net, "added") and "extra" not in dict(net.named_buffers())


def test_what_is_too_large_to_copy_is_still_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_COPIED == 64 << 20
    monkeypatch.setattr("attn_export.reference.module_state.MOST_COPIED", 20)
    before = _state(net := nn.Linear(64, 64, bias=False))
    net.weight.data[5, 5] += 1
    assert before.changed_weights(_state(net)) == ["parameter weight"]
    assert not before.restore()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.bool, torch.int64, torch.uint8])
@pytest.mark.parametrize("size", [1, 7, 64, 509, 1031, 5000])
def test_a_fingerprint_is_of_every_bit(dtype: torch.dtype, size: int) -> None:
    values = torch.randint(0, 2, (size,), generator=torch.Generator().manual_seed(size)).to(dtype)
    known = fingerprint(values)
    assert known == fingerprint(values.clone())
    for place in {0, size // 2, size - 1}:
        other = values.clone()
        other[place] = 1 - other[place].to(torch.int64)
        assert fingerprint(other) != known


def test_a_fingerprint_is_of_the_order_too() -> None:
    values = torch.randn(3000, generator=torch.Generator().manual_seed(0))
    assert len({fingerprint(values.roll(shift)) for shift in range(0, 3000, 64)}) == len(range(0, 3000, 64))
    near = values.clone()  # within one row of the one sum, in different rows of the other
    near[[0, 1, 300, 301]] = values[[300, 301, 0, 1]]
    assert fingerprint(near) != fingerprint(values)


def test_a_fingerprint_of_what_lies_in_memory_in_any_way() -> None:
    whole = torch.arange(4000.0)
    for view in (whole[1:], whole[3:2001], whole.view(40, 100).T, whole[:1].expand(10_000), whole[:0], whole[0]):
        assert fingerprint(view) == fingerprint(view.detach())
    assert fingerprint(whole[1:]) != fingerprint(whole[:-1])
    assert fingerprint(torch.tensor([1 + 2j]).conj()) != fingerprint(torch.tensor([1 + 2j]))
