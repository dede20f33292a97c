"""Nodes of two graphs: how many of each operator, and which modules gained or lost some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from attn_runtime.onnx_file import Node, OnnxGraph

from .changes import Change, Section

Counts = Mapping[str, int]


def operator_counts(graph: OnnxGraph) -> Counter[str]:
    """Operator -> how many nodes, the most frequent first; constants are data. An operator outside ONNX has its domain."""
    counts = Counter(_operator(node) for node in graph.nodes if node.op_type != "Constant")
    return Counter(dict(counts.most_common()))


def by_operator(a: Counts, b: Counts) -> Section:
    changes = [Change(name, a.get(name), b.get(name)) for name in dict.fromkeys((*a, *b)) if a.get(name) != b.get(name)]
    changes.sort(key=lambda change: -abs((change.b or 0) - (change.a or 0)))  # type: ignore[operator]
    return Section("nodes by operator", tuple(changes), len({*a, *b}) - len(changes), "operators")


def by_module(a: OnnxGraph, b: OnnxGraph) -> Section:
    """Modules are matched by their path in PyTorch, the same in every form of a model."""
    sides = _modules(a), _modules(b)
    changes = []
    names = dict.fromkeys((*sides[0], *sides[1]))
    for name in names:
        before, after = (side.get(name, Counter()) for side in sides)
        if before != after:
            note = " ".join([*(f"+{n} {op}" for op, n in (after - before).items()),
                             *(f"-{n} {op}" for op, n in (before - after).items())])  # fmt: skip
            counts = (before.total() or None, after.total() or None)
            changes.append(Change(name or "(no module)", *counts, note))
    return Section("nodes by module", tuple(changes), len(names) - len(changes), "modules")


def _modules(graph: OnnxGraph) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for node in graph.nodes:
        if node.op_type != "Constant":
            found.setdefault(node.module, Counter())[_operator(node)] += 1
    return found


def _operator(node: Node) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"
