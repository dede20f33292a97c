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
    bound: list[tuple[Any, str]] = [(owner, name)]
    if isinstance(owner, ModuleType):  # a method has no copies that an import made
        search = _search or _Search()
        bound += [place for place in search.copies(original) if place[0] is not owner]
        search.moved(original, wrapper)
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


@contextmanager
def one_search() -> Iterator[None]:
    """What is replaced inside is looked for once: it takes 10 ms to go over all modules beside transformers and timm."""
    global _search
    outer, _search = _search, _search or _Search()
    try:
        yield
    finally:
        _search = outer


class _Search:
    """What the modules outside torch hold. One that is imported later is looked at then."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[ModuleType, set[int]]] = {}
        self._all: set[int] = set()  # of most functions of torch no module outside it has a copy

    def copies(self, function: object) -> list[tuple[ModuleType, str]]:
        """The modules that hold `function`, and its name there."""
        for where in sys.modules.keys() - self._held.keys():
            module = sys.modules[where]
            # vars(), not getattr(): a lazily loading module must not be woken up.
            scope = {} if f"{where}.".startswith("torch.") else getattr(module, "__dict__", {})
            self._held[where] = module, set(map(id, scope.values()))
            self._all |= self._held[where][1]
        if id(function) not in self._all:
            return []
        holders = [module for module, held in self._held.values() if id(function) in held]
        return [(module, key) for module in holders for key, value in list(vars(module).items()) if value is function]

    def moved(self, function: object, wrapper: object) -> None:
        """Whoever held `function` holds `wrapper`."""
        if id(function) in self._all:
            self._all.add(id(wrapper))
            for _, held in self._held.values():
                if id(function) in held:
                    held.add(id(wrapper))


_search: _Search | None = None


def _recompile(graphs: Iterator[torch.fx.GraphModule]) -> None:
    for graph in dict.fromkeys(graphs):
        graph.recompile()
