"""What a typed graph is held against: inputs and answers on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attn_runtime.bundle import Bundle, Case, Graph
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Fills, Tolerance
from attn_runtime.errors import BundleError
from attn_runtime.ort import answer_files
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec
from safetensors.numpy import load_file, save_file

from ..onnx_graph import GraphInfo
from ..reference import corner_cases, fill_ranges
from .judge import Check, check_case


@dataclass(frozen=True)
class ReferenceSet:
    """`against` is who answered: "PyTorch", or the fp32 graph where no other answer is known; `fills` is what was found in
    answers of which nothing is recorded."""

    cases: tuple[Case[Path], ...]
    against: str
    classifier: bool = False
    fills: Fills = field(default_factory=dict)

    @property
    def inputs(self) -> list[Path]:
        return [c.inputs for c in self.cases]


def golden_record(bundle: Bundle, graph: Graph, type: str | None) -> ReferenceSet:
    """The golden cases of a bundle's graph that a precision of `type` (None: any) is held to, each read and checked once.

    BundleError where there are none.
    """
    if not graph.golden_for(type):
        raise BundleError(
            f"bundle {graph.bundle}: graph {graph.name} has no golden cases to hold another precision against. Export it again."
        )
    for _ in graph.cases(type):
        pass  # names, dtypes and shapes of every file
    classifier = len(class_outputs(bundle, graph)) == len(graph.outputs)
    return ReferenceSet(graph.golden_for(type), "PyTorch", classifier)


def class_outputs(bundle: Bundle, graph: Graph) -> tuple[str, ...]:
    """Outputs of a classifier in whose rows the greatest element is the answer; none of another model."""
    if bundle.manifest["task"] != "image-classification" and "labels" not in bundle.manifest["assets"]:
        return ()
    return tuple(spec.name for spec in graph.outputs if len(spec.dims) == 2)


def drawn_specs(facts: GraphInfo, specs: Sequence[TensorSpec] | None) -> tuple[TensorSpec, ...]:
    """What the inputs of a plain file are drawn by: `specs`, or without them what the graph says, with 1, 2, 3 and 5 for an axis
    of unknown size."""
    return tuple(specs) if specs else tuple(_spec(b.name, b.dtype, b.axes) for b in facts.inputs)


def own_record(
    graph: Path,
    facts: GraphInfo,
    specs: Sequence[TensorSpec] | None,
    folder: Path,
    isolated: ChildProcess,
    seed: int = 0,
) -> ReferenceSet:
    """Answers of the fp32 graph itself, in ONNX Runtime, to drawn inputs at every corner of `specs`; for a plain file.

    Without `specs`, an axis of unknown size is tried at 1, 2, 3 and 5. UsageError for an integer input without a range.
    """
    inputs = drawn_specs(facts, specs)
    cases: list[Case[Path]] = []
    for number, case in enumerate(corner_cases(inputs)):
        paths = [folder / f"{case.name}.{side}.safetensors" for side in ("inputs", "outputs")]
        save_file(draw_inputs(inputs, case.sizes, seed + number), paths[0])
        cases.append(Case(case.name, case.sizes, *paths))
    answer_files(isolated, "the fp32 graph", graph, [(c.inputs, c.outputs) for c in cases])
    answers = [Case(c.name, c.sizes, load_file(c.inputs), load_file(c.outputs)) for c in cases]
    return ReferenceSet(tuple(cases), "the fp32 graph", fills=fill_ranges(answers))


def _spec(name: str, dtype: str, axes: Sequence[int | str]) -> TensorSpec:
    return TensorSpec(name, dtype, tuple(Dim.fixed(a) if isinstance(a, int) else Dim(a, 1, 2, 5) for a in axes))


def check(
    graph: Path,
    record: ReferenceSet,
    tolerance: Tolerance,
    folder: Path,
    isolated: ChildProcess,
    large: bool = False,
    *,
    half_io: bool = False,
) -> list[Check]:
    """Run `graph` (float32 at its border) on every case; one check per output. TaskFailed when it can't be run.

    `half_io` says that it emulates one whose border is float16.
    """
    got = [folder / f"{number}.got.safetensors" for number in range(len(record.cases))]
    pairs = [(case.inputs, path) for case, path in zip(record.cases, got, strict=True)]
    answer_files(isolated, "the emulated graph", graph, pairs, large=large, fp16=True)
    checks: list[Check] = []
    for case, path in zip(record.cases, got, strict=True):
        expected, answers = load_file(case.outputs), load_file(path)
        checks.extend(check_case(case, expected, answers, tolerance, classifier=record.classifier, half_io=half_io))
        path.unlink()
    return checks
