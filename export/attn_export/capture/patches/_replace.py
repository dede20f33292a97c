"""Replace a function wherever a model may have got hold of it, and put it back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from types import BuiltinFunctionType, FunctionType, ModuleType
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


#: Whose functions are looked for together, in one look at all modules; any other function takes a look of its own.
_OWNERS = (
    "torch",
    "torch.export",
    "torch.nn.attention.flex_attention",
    "torch.nn.functional",
    "torch.nn.modules.transformer",
    "torch.nn.utils.rnn",
    "torch.onnx",
)


class _Search:
    """What the modules outside torch hold of torch's functions. A module that is imported later is looked at then."""

    def __init__(self) -> None:
        owners = [vars(sys.modules[name]).values() for name in _OWNERS if name in sys.modules]
        self._known = {id(f) for f in chain(*owners) if isinstance(f, (FunctionType, BuiltinFunctionType))}
        self._seen: set[str] = set()
        self._held: list[tuple[ModuleType, set[int]]] = []  # of the few that hold any

    def copies(self, function: object) -> list[tuple[ModuleType, str]]:
        """The modules that hold `function`, and its name there."""
        wanted = id(function)
        if wanted not in self._known:
            holders = [module for module in _outside_torch(sys.modules) if wanted in map(id, vars(module).values())]
        else:
            for module in _outside_torch(sys.modules.keys() - self._seen):
                if not self._known.isdisjoint(map(id, vars(module).values())):
                    self._held.append((module, self._known.intersection(map(id, vars(module).values()))))
            self._seen.update(sys.modules)
            holders = [module for module, held in self._held if wanted in held]
        return [(module, key) for module in holders for key, value in list(vars(module).items()) if value is function]

    def moved(self, function: object, wrapper: object) -> None:
        """Whoever held `function` holds `wrapper`."""
        if id(function) in self._known:
            self._known.add(id(wrapper))
            for _, held in self._held:
                if id(function) in held:
                    held.add(id(wrapper))


def _outside_torch(names: Iterable[str]) -> list[ModuleType]:
    """Those of the imported modules that have a scope: what stands in for a module may have none."""
    found = [sys.modules.get(name) for name in list(names) if not f"{name}.".startswith("torch.")]
    # vars(), not getattr(): a lazily loading module must not be woken up.
    return [module for module in found if module is not None and hasattr(module, "__dict__")]


_search: _Search | None = None


def _recompile(graphs: Iterator[torch.fx.GraphModule]) -> None:
    for graph in dict.fromkeys(graphs):
        graph.recompile()
