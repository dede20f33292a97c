"""What a typed graph is held against: inputs and answers on disk, and what 'equal' means for half precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from attn_runtime.bundle.reader import Bundle, Case, Graph
from attn_runtime.compare import Tolerance
from attn_runtime.errors import BundleError, UsageError
from attn_runtime.ort.fp16_workarounds import LEFT_OUT_ON_HALF
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec
from safetensors.numpy import load_file, save_file

from ..isolate import Isolated
from ..onnx_graph.onnx_file import GraphInfo
from ..reference.shape_cases import corner_cases
from .judge import Check, check_case

#: Of max|reference|. fp16 rounds to 5e-4 and bf16, with three bits less, to 4e-3: the same depth of arithmetic.
DEFAULT_RTOL = {"fp16": 1e-2, "bf16": 8e-2}
#: The absolute part of the limit, over that of the fp32 graph: where a reference is all zeros, half precision still rounds.
_ATOL_OVER_FP32 = 10.0


@dataclass(frozen=True)
class ReferenceSet:
    """`against` is who answered: "PyTorch", or the fp32 graph where no other answer is known."""

    cases: tuple[Case[Path], ...]
    against: str
    classifier: bool = False

    @property
    def inputs(self) -> list[Path]:
        return [c.inputs for c in self.cases]


def tolerance_for(kind: str, rtol: float | None, fp32: Tolerance) -> Tolerance:
    """The limits of a graph of `kind` whose fp32 graph has the limits `fp32`. UsageError for an rtol outside 0..1."""
    chosen = DEFAULT_RTOL[kind] if rtol is None else rtol
    if not 0 < chosen < 1:
        raise UsageError(f"--rtol {chosen:g}: expected a limit over 0 and under 1, as a share of max|reference|")
    return Tolerance(_ATOL_OVER_FP32 * fp32.atol, chosen)


def golden_record(bundle: Bundle, graph: Graph) -> ReferenceSet:
    """The golden cases of a bundle's graph, each read and checked once. BundleError where there are none."""
    if not graph.golden:
        raise BundleError(
            f"bundle {graph.bundle}: graph {graph.name} has no golden cases to hold half precision against. Export it again."
        )
    for _ in graph.cases():
        pass  # names, dtypes and shapes of every file
    classifies = bundle.manifest["task"] == "image-classification" or "labels" in bundle.manifest["assets"]
    ranks = {len(o.dims) for o in graph.outputs}
    return ReferenceSet(graph.golden, "PyTorch", classifies and ranks == {2})


def own_record(
    graph: Path, facts: GraphInfo, specs: Sequence[TensorSpec] | None, folder: Path, isolated: Isolated, seed: int = 0
) -> ReferenceSet:
    """Answers of the fp32 graph itself, in ONNX Runtime, to drawn inputs at every corner of `specs`; for a plain file.

    Without `specs`, an axis of unknown size is tried at 1, 2, 3 and 5. UsageError for an integer input without a range.
    """
    inputs = tuple(specs) if specs else tuple(_spec(b.name, b.dtype, b.axes) for b in facts.inputs)
    cases: list[Case[Path]] = []
    for number, case in enumerate(corner_cases(inputs)):
        paths = [folder / f"{case.name}.{side}.safetensors" for side in ("inputs", "outputs")]
        save_file(draw_inputs(inputs, case.sizes, seed + number), paths[0])
        cases.append(Case(case.name, case.sizes, *paths))
    isolated.run(
        "answers",
        "the fp32 graph",
        graph=str(graph),
        cases=[[str(c.inputs), str(c.outputs)] for c in cases],
        large=False,
    )
    return ReferenceSet(tuple(cases), "the fp32 graph")


def _spec(name: str, dtype: str, axes: Sequence[int | str]) -> TensorSpec:
    return TensorSpec(name, dtype, tuple(Dim.fixed(a) if isinstance(a, int) else Dim(a, 1, 2, 5) for a in axes))


def check(
    graph: Path, record: ReferenceSet, tolerance: Tolerance, folder: Path, isolated: Isolated, large: bool = False
) -> list[Check]:
    """Run `graph` (float32 at its border) on every case; one check per output. TaskFailed when it can't be run."""
    got = [folder / f"{number}.got.safetensors" for number in range(len(record.cases))]
    pairs = [[str(case.inputs), str(path)] for case, path in zip(record.cases, got, strict=True)]
    isolated.run("answers", "the rounded twin", graph=str(graph), cases=pairs, large=large, without=LEFT_OUT_ON_HALF)
    checks: list[Check] = []
    for case, path in zip(record.cases, got, strict=True):
        expected, answers = load_file(case.outputs), load_file(path)
        checks.extend(check_case(case, expected, answers, tolerance, classifier=record.classifier))
        path.unlink()
    return checks
