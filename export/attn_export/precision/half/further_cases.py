"""Cases beyond the record, which a typed graph is held to once it is found: corners at their declared size where the golden
case is stored smaller, and the sizes between the corners.

A sum over 16384 elements overflows float16 where one over 8192 does not.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from attn_runtime.bundle import Arrays, Bundle, Case, Graph, write_tensors
from attn_runtime.child_process import ChildProcess, TaskFailed
from attn_runtime.compare import Tolerance
from attn_runtime.errors import PassError
from attn_runtime.ort import answer_files
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import TensorSpec
from safetensors.numpy import load_file

from ...parity import Check, check_case, passed, swept_cases, worst
from ...reference import Draw, is_example
from ..layerwise import ranges
from ..schemes import Scheme
from .fp32_search import Conversion

#: Sizes between the corners are held to so many times the limit: of a hundred draws one has twice the usual rounding, while
#: what overflows, or counts an index in the type, is far beyond.
_TIMES_LIMIT = 2.0
#: What the sizes between the corners may take, in seconds; the declared corners are asked in any case.
SECONDS = 20.0
#: Cases that are run in one go take no more of the disk than this, in bytes.
_CHUNK_BYTES = 1 << 28


@dataclass(frozen=True)
class Live:
    """The module itself: `ask` gives its outputs to any inputs, `draw` inputs of given sizes from a seed."""

    ask: Callable[[Arrays], Arrays]
    draw: Draw


@dataclass(frozen=True)
class FurtherCases:
    """What else to ask. `declared` and `swept` are (name, sizes, seed of the inputs).

    live        PyTorch, where the module is at hand; else the fp32 graph is the reference, which was held against PyTorch at
                the same sizes
    not_drawn   corners whose inputs can't be drawn again, by name
    """

    inputs: tuple[TensorSpec, ...] = ()
    declared: tuple[tuple[str, Mapping[str, int], int], ...] = ()
    swept: tuple[tuple[str, Mapping[str, int], int], ...] = ()
    live: Live | None = None
    not_drawn: tuple[str, ...] = ()

    def inputs_at(self, sizes: Mapping[str, int], seed: int) -> Arrays:
        return self.live.draw(sizes, seed).inputs if self.live else draw_inputs(self.inputs, sizes, seed)


@dataclass(frozen=True)
class Further:
    """How a typed graph answered them. `asked` of the sizes between the corners were reached in the time there is;
    `against` is who gave the reference."""

    declared: tuple[Check, ...] = ()
    swept: tuple[Check, ...] = ()
    asked: int = 0
    against: str = "PyTorch"
    failing: tuple[Case[Path], ...] = ()

    @property
    def checks(self) -> tuple[Check, ...]:
        return (*self.declared, *self.swept)

    @property
    def text(self) -> str:
        """What was asked, for a person: "max-declared, 117 sizes between"."""
        parts = list(dict.fromkeys(c.case.name for c in self.declared))
        said = ", ".join([*parts, *([f"{self.asked} sizes between"] if self.asked else [])])
        return said if self.against == "PyTorch" else f"{said} ({self.against} at these)"


def of_bundle(bundle: Bundle, graph: Graph, type: str | None, live: Live | None = None) -> FurtherCases:
    """What a graph declares beyond what is stored of it, and what else an export asked.

    Inputs that a user's function drew together can be drawn again with the module at hand alone.
    """
    smaller = [ref for ref in graph.golden_for(type) if dict(ref.sizes) != dict(ref.checked_sizes)]
    drawn = live is not None or "inputs_from" not in bundle.manifest["source"]
    examples = [ref.name for ref in smaller if is_example(ref.name) or not drawn]
    declared = [(f"{ref.name}-declared", ref.checked_sizes, ref.seed) for ref in smaller if ref.name not in examples]
    if not drawn:
        return FurtherCases(graph.inputs, not_drawn=(*examples, "the sizes between"))
    swept = swept_cases(bundle.manifest["graphs"][graph.name].get("sweep"))
    return FurtherCases(graph.inputs, tuple(declared), swept, live, tuple(examples))


class Held(Protocol):
    """What is asked further: the fp32 graph at `source`, and another form of it, whose limits are `tolerance`."""

    @property
    def source(self) -> Path: ...
    @property
    def scheme(self) -> Scheme: ...
    @property
    def tolerance(self) -> Tolerance: ...
    @property
    def isolated(self) -> ChildProcess: ...
    @property
    def large(self) -> bool: ...
    @property
    def half_io(self) -> bool: ...


def hold(conversion: Held, emulated: Path, cases: FurtherCases, folder: Path) -> Further:
    """Run the emulated graph at every further case: those that fail, worst first, are kept in `folder` as files."""
    folder.mkdir(parents=True, exist_ok=True)
    checks: dict[str, list[Check]] = {"declared": [], "swept": []}
    failing: list[tuple[float, Case[Path]]] = []
    asked = total = 0
    started = time.monotonic()
    for kind, chunk in [
        *(("declared", [one]) for one in cases.declared),
        *(("swept", chunk) for chunk in _chunks(cases.swept, cases.inputs)),
    ]:
        if kind == "swept" and time.monotonic() - started > SECONDS:
            break
        written = [_written(cases, *one, folder / str(total + n)) for n, one in enumerate(chunk)]
        total += len(chunk)
        asked += len(chunk) if kind == "swept" else 0
        tolerance = conversion.tolerance.times(_TIMES_LIMIT) if kind == "swept" else conversion.tolerance
        for case, found in _checked(conversion, emulated, cases, written, folder, tolerance):
            checks[kind].extend(found)
            if passed(found):
                for path in (case.inputs, case.outputs):
                    path.unlink()
            else:
                failing.append((worst(found).ratio, case))
    ordered = [case for _, case in sorted(failing, key=lambda one: -one[0])]
    against = "PyTorch" if cases.live else "the fp32 graph"
    return Further(tuple(checks["declared"]), tuple(checks["swept"]), asked, against, tuple(ordered))


def extended(conversion: Conversion, failing: Sequence[Case[Path]], work: Path) -> Conversion:
    """`conversion` with these cases in its record too."""
    work.mkdir(parents=True)
    try:
        seen = ranges(conversion.source, [case.inputs for case in failing], conversion.isolated)
    except TaskFailed as problem:
        raise PassError(f"the fp32 graph can't be measured: {problem}") from problem
    names = {*conversion.largest, *seen}
    largest = {name: max(conversion.largest.get(name, 0.0), seen.get(name, 0.0)) for name in names}
    record = replace(conversion.record, cases=(*conversion.record.cases, *failing))
    return replace(conversion, record=record, largest=largest, work=work)


def _written(
    cases: FurtherCases, name: str, sizes: Mapping[str, int], seed: int, stem: Path
) -> tuple[Case[Path], bool]:
    """The case with its inputs on disk, and whether PyTorch's answers are there as well."""
    inputs = cases.inputs_at(sizes, seed)
    case = Case(name, sizes, stem.with_suffix(".in.safetensors"), stem.with_suffix(".ref.safetensors"))
    write_tensors(case.inputs, inputs)
    if cases.live is not None:
        write_tensors(case.outputs, cases.live.ask(inputs))
    return case, cases.live is not None


def _checked(
    conversion: Held,
    emulated: Path,
    cases: FurtherCases,
    written: Sequence[tuple[Case[Path], bool]],
    folder: Path,
    tolerance: Tolerance,
) -> Iterator[tuple[Case[Path], list[Check]]]:
    got = [folder / f"{n}.got.safetensors" for n in range(len(written))]
    missing = [(case.inputs, case.outputs) for case, answered in written if not answered]
    pairs = [(case.inputs, path) for (case, _), path in zip(written, got, strict=True)]
    try:
        if missing:
            answer_files(conversion.isolated, "the fp32 graph", conversion.source, missing, large=conversion.large)
        what = f"the {conversion.scheme.name} graph"
        answer_files(conversion.isolated, what, emulated, pairs, large=conversion.large, fp16=True)
    except TaskFailed as problem:
        raise PassError(f"the {conversion.scheme.name} graph can't be run: {problem}") from problem
    for (case, _), path in zip(written, got, strict=True):
        bare: Case[Arrays] = Case(case.name, case.sizes, {}, {})
        expected, answers = load_file(case.outputs), load_file(path)
        yield case, check_case(bare, expected, answers, tolerance, half_io=conversion.half_io)
        path.unlink()


def _chunks(
    cases: Sequence[tuple[str, Mapping[str, int], int]], inputs: Sequence[TensorSpec]
) -> Iterator[list[tuple[str, Mapping[str, int], int]]]:
    chunk: list[tuple[str, Mapping[str, int], int]] = []
    size = 0
    for case in cases:
        chunk.append(case)
        size += sum(math.prod(s.shape(case[1])) * 8 for s in inputs)
        if len(chunk) == 64 or size > _CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
