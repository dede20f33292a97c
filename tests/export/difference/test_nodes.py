"""Nodes by operator and by module."""

from __future__ import annotations

from collections.abc import Sequence

from attn_export.difference.changes import Change
from attn_export.difference.nodes import by_module, by_operator, operator_counts
from attn_runtime.onnx_file import Node, OnnxGraph


def graph(nodes: Sequence[tuple[str, str]], domain: str = "") -> OnnxGraph:
    """Of (operator, module)."""
    made = tuple(Node(f"n{n}", op, domain, (), (), {}, module, "") for n, (op, module) in enumerate(nodes))
    return OnnxGraph(made, (), (), {}, frozenset(), 20)


A = graph([("Constant", ""), ("Add", "a"), ("Mul", "a"), ("Mul", "b"), ("Mul", "b")])


def test_constants_are_no_nodes_and_the_most_frequent_come_first() -> None:
    assert list(operator_counts(A).items()) == [("Mul", 3), ("Add", 1)]
    assert operator_counts(graph([("Gelu", "")], "com.microsoft")) == {"com.microsoft.Gelu": 1}


def test_operators() -> None:
    other = operator_counts(graph([("Add", "a"), ("Mul", "a"), ("Cast", ""), ("Cast", ""), ("Cast", "")]))
    found = by_operator(operator_counts(A), other)
    assert found.changes == (Change("Cast", None, 3), Change("Mul", 3, 1)) and found.same == 1


def test_modules_that_gained_and_lost_nodes_and_those_of_other_operators() -> None:
    found = by_module(
        A, graph([("Constant", "c"), ("Add", "a"), ("Neg", "a"), ("Mul", "b"), ("Mul", "b"), ("Cast", "")])
    )
    assert found.changes == (Change("a", 2, 2, "+1 Neg -1 Mul"), Change("(no module)", None, 1, "+1 Cast"))
    assert found.same == 1
