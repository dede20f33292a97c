"""From two graphs of one model to the first node where they part, and the error along the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx
from attn_runtime.child_process import ChildProcess
from attn_runtime.errors import UsageError
from attn_runtime.onnx_file import Node, read_graph
from attn_runtime.text_format import finite_or_none

from ..schemes import HalfScheme, scheme_of
from ..typed import tensor_types
from .activations import Spread, compare_intermediates

#: A node drifts when its relative error is this many times what its inputs and one rounding bring along.
DRIFT_GROWTH = 16.0
#: Two graphs of one model share at least this part of the tensors of the first.
_MIN_SHARED = 0.5


@dataclass(frozen=True)
class Step:
    """One tensor along the graph; magnitudes as in `activations.Spread`.

    `growth` is its relative error over the largest of its inputs' (and at least one rounding).
    """

    tensor: str
    node: str
    operator: str
    module: str
    source: str
    largest: float
    scale: float
    error: float
    relative: float
    growth: float
    lost: int
    case: str

    @property
    def overflow(self) -> bool:
        """Whether elements that are finite in the first graph are not in the other."""
        return self.lost > 0

    @property
    def label(self) -> str:
        """What a person calls the place: the module path, or the node where the graph knows none."""
        return self.module or self.node

    def reason(self, limit: float) -> str:
        """The reason in a few words: "overflow 9.1e4 > 65504"."""
        if self.overflow:
            if self.largest > limit:
                return f"overflow {short(self.largest)} > {limit_text(limit)}"
            if self.operator == "Where":  # what it reads is finite, or would be told: it chose the other side
                return f"{self.lost} values fall on the other side of its condition, for what is compared is rounded"
            return f"{self.lost} values are inf or NaN, max|value| in fp32 {short(self.largest)}"
        return (
            f"drift: error {self.relative:.1e} of max|value| {short(self.scale)}, {self.growth:.0f} times its inputs'"
        )

    def to_json(self) -> dict[str, Any]:
        values = {k: finite_or_none(v) if isinstance(v, float) else v for k, v in asdict(self).items()}
        return {**values, "overflow": self.overflow}


@dataclass(frozen=True)
class Bisection:
    """The error along a graph, in the order of its nodes.

    `first` is the first step that overflows, else the first that drifts, else the one where the error grows most; `how`
    says which of the three: "overflow", "drift" or "creep". None where the two graphs agree everywhere.
    """

    steps: tuple[Step, ...]
    first: Step | None
    how: str
    limit: float

    def to_json(self) -> dict[str, Any]:
        return {
            "how": self.how,
            "first": None if self.first is None else {**self.first.to_json(), "told": self.first.reason(self.limit)},
            "steps": [s.to_json() for s in self.steps],
        }


def precision_of(model: onnx.ModelProto) -> HalfScheme | None:
    """The scheme whose type the graph has tensors of; None for a graph in fp32."""
    return scheme_of(set(tensor_types(model).elements()))


def compare_graphs(
    reference: Path,
    other: Path,
    cases: Sequence[tuple[str, Path]],
    isolated: ChildProcess,
    work: Path,
    scheme: HalfScheme | None = None,
) -> Bisection:
    """Compare the tensors of `reference` (fp32) and `other`, a graph of the same model in any precision.

    `cases` are (name, .safetensors of inputs). A graph in half precision is compared as its emulated graph, which is
    written to `work`; `scheme` says whose type it is of where `other` is one already. UsageError when `other` is a graph
    of another model.
    """
    model = onnx.load(other, load_external_data=False)
    own = precision_of(model)
    compared = other
    if own is not None and scheme is None:
        scheme, compared = own, work / f"{other.stem}.emulated.onnx"
        model = own.emulate(model)
        onnx.save(model, compared)
    graph = read_graph(reference, reference.name)
    made = {name for node in model.graph.node for name in node.output}
    expected = [name for node in graph.nodes for name in node.outputs if name]
    shared = [name for name in expected if name in made]
    inputs = {i.name for i in model.graph.input}
    if len(shared) < _MIN_SHARED * len(expected) or not set(graph.inputs) >= inputs:
        raise UsageError(
            f"{other.name} is a graph of another model than {reference.name}: it has {len(shared)} of its {len(expected)} "
            "tensors; give a graph that was made from it, as attn-export convert does"
        )
    spreads = compare_intermediates(
        reference, compared, shared, [path for _, path in cases], isolated, data=other.parent
    )
    limit, unit = (scheme.max_finite, scheme.unit_roundoff) if scheme else (float("inf"), 2.0**-24)
    steps = _steps(graph.nodes, spreads, [name for name, _ in cases], limit, unit)
    overflow = next((s for s in steps if s.overflow), None)
    drift = next((s for s in steps if s.growth > DRIFT_GROWTH), None)
    how = "overflow" if overflow else "drift" if drift else "creep"
    return Bisection(tuple(steps), overflow or drift or _steepest(steps), how, limit)


def _steps(
    nodes: Sequence[Node], spreads: dict[str, Spread], cases: Sequence[str], limit: float, unit: float
) -> list[Step]:
    steps: list[Step] = []
    for node in nodes:
        for name in node.outputs:
            spread = spreads.get(name)
            if spread is None:
                continue
            brought = max((spreads[i].relative for i in node.inputs if i in spreads), default=0.0)
            growth = spread.relative / max(brought, unit) if brought < float("inf") else 1.0
            steps.append(
                Step(
                    name, node.name, node.op_type, node.module, node.source, spread.largest, spread.scale, spread.error,
                    spread.relative, growth, spread.lost, cases[spread.case],
                )
            )  # fmt: skip
    return steps


def _steepest(steps: Sequence[Step]) -> Step | None:
    """Where nothing drifts at once, the error has crept up: the node that added the most."""
    return max((s for s in steps if s.growth > 1), key=lambda s: s.growth, default=None)


def short(value: float) -> str:
    """9.1e4, as a person writes it."""
    mantissa, _, exponent = f"{value:.1e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def limit_text(limit: float) -> str:
    """A type's limit: "65504", "3.4e38"."""
    return f"{limit:.0f}" if limit < 1e6 else short(limit)
