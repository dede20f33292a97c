"""Mutants of a graph: drawn from a seed, every family and every node as often as the others, and written as files.

Only what is changed lies in a mutant's file. External weights stay where they are; whoever runs it says in which folder.
The bodies of If, Loop and Scan are left as they are.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from ..onnx_graph import index, load, module_path
from .families import Change, changes


@dataclass(frozen=True)
class Mutant:
    """One change of one graph.

    graph    its name in the bundle, "" for a plain file
    node     the node's name and `operator`; of a weight, the first that reads it
    module   the PyTorch module that the node came from, "" where it is not told
    what     what was changed, in a few words
    """

    family: str
    graph: str
    node: str
    operator: str
    module: str
    what: str

    def __str__(self) -> str:
        where = f" ({self.module})" if self.module else ""
        graph = f"{self.graph}: " if self.graph else ""
        return f"{self.family}: {graph}{self.operator} {self.node}{where}: {self.what}"

    def to_json(self) -> dict[str, str]:
        return {
            "family": self.family,
            "graph": self.graph,
            "node": self.node,
            "operator": self.operator,
            "module": self.module,
            "what": self.what,
        }


@dataclass(frozen=True)
class Site:
    """A mutant that could be made: the change, and the place of its node in the graph."""

    mutant: Mutant
    change: Change
    position: int


class Mutants:
    """What can be changed in one graph, in the order in which it is drawn."""

    def __init__(self, path: Path, graph: str = "") -> None:
        """Raises BundleError for a file that is no ONNX model."""
        self.path = path
        self.model = load(path)
        index(self.model)
        self._sites = self._found(graph)

    @property
    def families(self) -> list[str]:
        return sorted(self._sites)

    def draw(self, seed: int) -> Iterator[Site]:
        """Every site once, in an order that the seed decides: of one family after the other, of each the place that was
        taken least often."""
        rng = random.Random(seed)
        queues = {family: _evenly(places, rng) for family, places in sorted(self._sites.items())}
        order = sorted(queues)
        rng.shuffle(order)
        while order:
            for family in list(order):
                site = next(queues[family], None)
                if site is None:
                    order.remove(family)
                else:
                    yield site

    def write(self, site: Site, target: Path) -> None:
        """Write the mutant; external data stays beside the original. Raises Unchanged where it would be the original."""
        copy = self.model.clone()
        nodes = list(copy.graph)
        site.change.edit(copy.graph, nodes[site.position])
        copy.graph.sort()
        # What is declared of a tensor on the way may no longer hold, and is inferred again.
        outputs = {id(value) for value in copy.graph.outputs}
        for node in copy.graph:
            for value in node.outputs:
                if id(value) not in outputs:
                    value.shape = None
        ir.save(copy, target)

    def _found(self, graph: str) -> dict[str, dict[str, list[Site]]]:
        """Family -> place -> sites. A weight that several nodes read is one place."""
        sites: dict[str, dict[str, list[Site]]] = defaultdict(lambda: defaultdict(list))
        seen: set[tuple[str, str]] = set()
        for position, node in enumerate(self.model.graph):
            name = node.name or next((v.name for v in node.outputs if v.name), None) or str(position)
            for change in changes(node):
                if change.place and (change.place, change.what) in seen:
                    continue
                seen.add((change.place, change.what))
                mutant = Mutant(change.family, graph, name, node.op_type, module_path([node]), change.what)
                sites[change.family][change.place or name].append(Site(mutant, change, position))
        return sites


def _evenly(places: dict[str, list[Site]], rng: random.Random) -> Iterator[Site]:
    queues = []
    for place in sorted(places):
        sites = list(places[place])
        rng.shuffle(sites)
        queues.append(sites)
    rng.shuffle(queues)
    while queues:
        for sites in queues:
            yield sites.pop()
        queues = [sites for sites in queues if sites]
