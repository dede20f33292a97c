"""Replace a function wherever a model may have got hold of it, and put it back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch


@contextmanager
def replaced(
    owner: ModuleType | type,
    name: str,
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]],
    module: torch.nn.Module | None = None,
    operator: Any = None,
) -> Iterator[None]:
    """Set `owner.name` to `wrap(owner.name)`, and every copy of it that `from owner import name` made.

    Copies inside torch itself stay as they are. An exported program's graph names operators, not functions: where
    `module` holds such graphs, their calls of `operator` go to the wrapper too.
    """
    original = getattr(owner, name)
    wrapper = wrap(original)
    bound = [(owner, name)]
    # A method has no copies that an import made.
    for where, python_module in list(sys.modules.items()) if isinstance(owner, ModuleType) else ():
        if python_module is owner or where == "torch" or where.startswith("torch."):
            continue
        # vars(), not getattr(): a lazily loading module must not be woken up.
        scope = getattr(python_module, "__dict__", {})
        bound += [(python_module, key) for key, value in list(scope.items()) if value is original]
    nodes = [
        (graph, node, node.target)
        for graph in (module.modules() if module is not None else ())
        if isinstance(graph, torch.fx.GraphModule)
        for node in graph.graph.nodes
        if node.op == "call_function" and (node.target is original or node.target is operator)
    ]
    try:
        for place, key in bound:
            setattr(place, key, wrapper)
        for _, node, _ in nodes:
            node.target = wrapper
        _recompile(graph for graph, _, _ in nodes)
        yield
    finally:
        for place, key in bound:
            setattr(place, key, original)
        for _, node, target in nodes:
            node.target = target
        _recompile(graph for graph, _, _ in nodes)


def _recompile(graphs: Iterator[torch.fx.GraphModule]) -> None:
    for graph in dict.fromkeys(graphs):
        graph.recompile()
