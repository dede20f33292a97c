"""What is looked at in the page: the user's own inputs, or what the bundle brings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Arrays, Bundle
from attn_runtime.generate import generated_cases
from attn_runtime.preprocess import kind_of, load_audio, load_image


@dataclass(frozen=True)
class Given:
    """One input.

    title    what it is called
    source   what `attn_runtime.attention_maps` takes: what the user gave, or arrays
    graph    whose input it is; "" for all graphs of a generator
    arrays   what a model takes of it, as far as it can be drawn; row 0 is shown
    answers  PyTorch's, of a golden case
    """

    title: str
    source: str | Arrays
    graph: str = ""
    arrays: Arrays = field(default_factory=dict)
    answers: Arrays = field(default_factory=dict)

    @property
    def own(self) -> bool:
        """Whether the user gave it."""
        return isinstance(self.source, str)


def given_inputs(bundle: Bundle, inputs: Sequence[str]) -> list[Given]:
    """One for each of `inputs`; without them a golden case of each graph, or the first generated one."""
    if inputs:
        return [Given(_short(each), each, arrays=_drawable(bundle, each)) for each in inputs]
    if (case := next(generated_cases(bundle), None)) is not None:
        return [Given(f"generated case {case.name}", case.inputs)]
    return [_golden(bundle, name) for name, graph in bundle.graphs.items() if graph.golden]


def _golden(bundle: Bundle, name: str) -> Given:
    """The case at the usual size, or the first one."""
    graph = bundle.graphs[name]
    wanted = "opt" if any(ref.name == "opt" for ref in graph.golden) else graph.golden[0].name
    case = next(case for case in graph.cases(None if graph.golden_for(None) else "fp32") if case.name == wanted)
    label = f"golden case {wanted}" + (f" of {name}" if len(bundle.graphs) > 1 else "")
    return Given(label, case.inputs, name, case.inputs, case.outputs)


def _drawable(bundle: Bundle, given: str) -> Arrays:
    """The tensor of a picture or of a recording; a text and arrays are not drawn."""
    if bundle.asset("text") is not None or kind_of(given) == "arrays":
        return {}
    if (recipe := bundle.asset("image")) is not None:
        return {recipe["input"]: load_image(given, recipe)}
    if (recipe := bundle.asset("audio")) is not None:
        specs = {spec.name: spec for graph in bundle.graphs.values() for spec in graph.inputs}
        dim: Any = specs[recipe["input"]].dims[1]
        return {recipe["input"]: load_audio(given, recipe, dim.min, dim.max).samples}
    return {}


def _short(given: str) -> str:
    """A file by its name, a text as it is."""
    name = Path(given).name if len(given) < 256 and "/" in given else given
    return name if len(name) <= 80 else f"{name[:79]}…"
