"""The exporter's table of operators is made once, and PyTorch's own functions are there again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from attn_export.capture.operator_table import kept_table
from torch._export import utils
from torch.onnx._internal.exporter import _registration

Table = _registration.ONNXRegistry


def test_it_is_made_once_an_opset_and_put_back() -> None:
    tables = []
    for opset in (18, 18, 20):
        with kept_table():
            tables.append(Table().from_torchlib(opset_version=opset))
    first, second, third = (table.functions for table in tables)
    own = Table.from_torchlib(opset_version=18).functions
    assert len(first) > 300 and own.keys() == first.keys()
    assert all(a is b for operator in first for a, b in zip(first[operator], second[operator], strict=True))
    assert not all(a is b for operator in first for a, b in zip(first[operator], own[operator], strict=True))
    assert [table.opset_version for table in tables] == [18, 18, 20] and third is not first


def test_what_is_registered_in_one_stays_there() -> None:
    def mine(x: Any) -> Any:
        return x

    with kept_table():
        one, other = (Table.from_torchlib() for _ in range(2))
        one.register_op(torch.ops.aten.relu.default, mine)
        later = Table.from_torchlib()
    assert len(one.get_decomps(torch.ops.aten.relu.default)) == 2
    assert [len(t.get_decomps(torch.ops.aten.relu.default)) for t in (other, later)] == [1, 1]


def test_operators_are_gathered_once_an_export(monkeypatch: pytest.MonkeyPatch) -> None:
    gather: Callable[[], None] = utils._materialize_cpp_cia_ops
    calls = []
    monkeypatch.setattr(utils, "_materialize_cpp_cia_ops", lambda: (calls.append(1), gather())[1])
    for _ in range(2):
        with kept_table():
            found = utils._collect_all_valid_cia_ops()
            assert torch.ops.aten.linear.default in found
            assert utils._collect_all_valid_cia_ops() == found
    assert len(calls) == 2
