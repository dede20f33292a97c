"""Who imports what in the three packages, read from the source: top-level, function-level and type-only imports alike."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[3]
#: Where each package lies.
PACKAGES = {"attn_runtime": "runtime", "attn_models": "models", "attn_export": "export"}


@dataclass(frozen=True)
class Import:
    """`from target import name` in `importer`, or `import target` where name is "". `origin` is the module that holds it."""

    importer: str
    target: str
    name: str
    origin: str
    line: int


@dataclass
class ImportGraph:
    """The modules of a tree by dotted name, each with its syntax tree; packages are modules too."""

    modules: dict[str, ast.Module] = field(default_factory=dict)
    packages: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, root: Path = ROOT, packages: Mapping[str, str] = PACKAGES) -> ImportGraph:
        graph = cls()
        for top, base in packages.items():
            for file in sorted((root / base / top).rglob("*.py")):
                parts = [*file.relative_to(root / base).with_suffix("").parts]
                if parts[-1] == "__init__":
                    parts.pop()
                    graph.packages.add(".".join(parts))
                graph.modules[".".join(parts)] = ast.parse(file.read_text(encoding="utf-8"))
        assert graph.modules, f"no Python files below {root}"
        return graph

    def room(self, module: str) -> str:
        """The package that a module lies in; a package is its own room."""
        return module if module in self.packages else module.rpartition(".")[0]

    def public(self, package: str) -> tuple[str, ...]:
        """What the `__all__` of a package names."""
        for node in self.modules[package].body:
            if isinstance(node, ast.Assign) and [getattr(t, "id", "") for t in node.targets] == ["__all__"]:
                return tuple(ast.literal_eval(node.value))
        return ()

    def reexports(self, package: str) -> dict[str, str]:
        """Where a package's names come from: name -> module, by the imports of its `__init__`."""
        return {
            alias.asname or alias.name: self.resolved(package, node)
            for node in ast.walk(self.modules[package])
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def resolved(self, importer: str, node: ast.ImportFrom) -> str:
        """The absolute name of the module after `from`."""
        if not node.level:
            return node.module or ""
        base = importer.split(".") if importer in self.packages else importer.split(".")[:-1]
        return ".".join([*base[: len(base) - node.level + 1], *([node.module] if node.module else [])])

    @cached_property
    def imports(self) -> tuple[Import, ...]:
        """Every import of a module of ours."""
        return tuple(found for importer in self.modules for found in self._imports(importer))

    def _imports(self, importer: str) -> Iterator[Import]:
        for node in ast.walk(self.modules[importer]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    if alias.name in self.modules:
                        yield Import(importer, alias.name, "", alias.name, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                target = self.resolved(importer, node)
                for alias in node.names if target in self.modules else ():
                    yield Import(importer, target, alias.name, self._origin(target, alias.name), node.lineno)

    def _origin(self, target: str, name: str) -> str:
        if f"{target}.{name}" in self.modules and name not in self.public(target):
            return f"{target}.{name}"
        if target in self.packages:
            seen = self.reexports(target).get(name, "")
            if seen in self.modules and seen != target:
                return self._origin(seen, name)
            if f"{target}.{name}" in self.modules:
                return f"{target}.{name}"
        return target

    def edges(self, inits: bool = False) -> dict[str, set[str]]:
        """Module -> the modules that it imports from. What an `__init__` re-exports from its own room is no edge."""
        found: dict[str, set[str]] = {module: set() for module in self.modules}
        for one in self.imports:
            own = one.importer in self.packages and one.origin.startswith(f"{one.importer}.")
            if one.origin != one.importer and (inits or not own):
                found[one.importer].add(one.origin)
        return found

    def room_edges(self) -> dict[str, set[str]]:
        """Room -> the rooms that it imports from; modules right below a package are rooms of their own."""
        found: dict[str, set[str]] = {}
        for importer, targets in self.edges().items():
            here = self.unit(importer)
            found.setdefault(here, set()).update({self.unit(t) for t in targets} - {here})
        return found

    def unit(self, module: str) -> str:
        """The room of a module, or the module itself where it lies right below a package."""
        room = self.room(module)
        return module if room in PACKAGES else room


@cache
def repository() -> ImportGraph:
    """The three packages here, read once a process: several tests ask. Not to be changed."""
    return ImportGraph.read()


def cycles(edges: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node, by Tarjan's algorithm (SIAM J. Comput. 1, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            component = [stack.pop()]
            while component[-1] != node:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for node in edges:
        if node not in index:
            visit(node)
    return found
