"""Copies that `from ... import` made are found wherever they are, and put back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from attn_export.capture.patches import one_search, replaced
from torch.nn import functional


def module(name: str, monkeypatch: pytest.MonkeyPatch, **held: Any) -> ModuleType:
    made = ModuleType(name)
    vars(made).update(held)
    monkeypatch.setitem(sys.modules, name, made)
    return made


def own(x: float) -> float:
    return x


def wrapping(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *given: original(*given)


@pytest.mark.parametrize(
    "owner, name", [(torch, "relu"), (functional, "softmax"), (torch.nn.utils.rnn, "pad_sequence"), (None, "own")]
)
def test_a_function_of_torch_or_any_other(owner: ModuleType | None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = owner or sys.modules[__name__]
    original = getattr(owner, name)
    early = module("early", monkeypatch, mine=original, other=len)
    with one_search(), replaced(owner, name, wrapping):
        once = getattr(owner, name)
        late = module("late", monkeypatch, mine=once, first=original)
        assert early.mine is once is not original and early.other is len
        with replaced(owner, name, wrapping):
            twice = getattr(owner, name)
            assert early.mine is late.mine is twice is not once
            assert late.first is original  # it was not there when the first was replaced
        assert early.mine is late.mine is once
    assert early.mine is getattr(owner, name) is original
