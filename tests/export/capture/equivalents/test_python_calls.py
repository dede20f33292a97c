"""Python's own ways to use a size."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
import torch
from attn_export.capture.equivalents import python_sizes
from attn_runtime.compare import Tolerance
from support.checks.every_size import Graph, floats


def forms(x: torch.Tensor) -> Any:
    rows = x[0].T
    square = rows @ rows.T
    square.fill_diagonal_(-1.0)
    return (
        x / len(rows) + torch.arange(len(rows)),
        x / math.sqrt(len(rows)),
        x * math.log(len(rows) + 1, 512) + math.log2(len(rows)),
        x * torch.as_tensor([rows.shape[0], 2])[0] + torch.as_tensor(rows.shape[0]),
        x + x.new_tensor(rows.shape[0]),
        square,
    )


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph(forms, 1, 20)


def test_they_follow_the_size(graph: Graph) -> None:
    assert graph.wrong([1, 2, 7, 20], Tolerance()) == []
    told = graph.told["written-out"]
    assert told.startswith("wrote out 2 as_tensor calls, 1 fill_diagonal_ call, 5 len calls, 1 math.log call")


def test_without_them_the_size_is_fixed() -> None:
    with pytest.raises(Exception, match=r"specializ|constant"):
        Graph(lambda x: x / len(x[0].T), 2, 6, skip=["written-out"])


def test_pieces_of_a_size_are_as_many_as_the_examples() -> None:
    def summed(x: torch.Tensor) -> Any:
        return sum(x[..., start : start + 8] for start in range(0, x.shape[-1], 8))

    graph = Graph(summed, 1, 8)
    assert graph.wrong() == [] and graph.told["written-out"].startswith("wrote out 1 range call")


def test_plain_numbers_and_tensors_are_left_alone_and_all_is_put_back() -> None:
    names = math.sqrt, math.log, torch.as_tensor, torch.Tensor.new_tensor, torch.Tensor.fill_diagonal_
    heard: Counter[str] = Counter()
    with python_sizes(torch.nn.Identity(), lambda name: heard.update([name])):
        assert {"len", "range"} <= globals().keys()
        assert list(range(2)) == [0, 1] and range(5, 0, -2)[1] == 3
        assert (len([1, 2]), len(torch.ones(3)), math.sqrt(4), math.log(8, 2)) == (2, 3, 2.0, 3.0)
        assert torch.as_tensor([1.0]).new_tensor(2).item() == 2
        assert torch.ones(2, 2).fill_diagonal_(5).trace() == 10
    assert not heard
    assert not {"len", "range"} & globals().keys()
    assert names == (math.sqrt, math.log, torch.as_tensor, torch.Tensor.new_tensor, torch.Tensor.fill_diagonal_)
    assert floats(2).shape[0] == 2


def test_what_a_model_sets_in_its_file_while_it_is_captured_stays() -> None:
    with python_sizes(torch.nn.Identity(), lambda name: None):
        globals()["CACHED_MASK"] = 1
    assert globals().pop("CACHED_MASK", None) == 1
