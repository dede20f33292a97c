"""How much of a bundle's proof is proof: its graphs are changed on purpose, and the golden cases have to notice."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from attn_runtime.bundle import Arrays, Bundle, Case, Graph, write_tensors
from attn_runtime.child_process import ChildDied, ChildProcess, TaskFailed
from attn_runtime.compare import Tolerance, compare
from attn_runtime.errors import BundleError, ParityError, StageError, UsageError

from ..console import Console
from ..parity import check_case, passed, worst
from ..precision.schemes import HalfScheme, of_type
from . import weak_proof
from .families import Unchanged
from .mutants import Mutant, Mutants
from .report import BLIND, CAUGHT, EQUIVALENT, MutationReport, Result
from .runs import Form, Runner, form_of, stored_cases
from .unseen_inputs import fresh_inputs

#: Seconds that a mutant gets for one case at least, and as a multiple of what all cases of the original took.
_LEAST_SECONDS, _TIMES = 20.0, 20.0
#: Added to the user's seed for the fresh inputs, so that they are not those of an export with a nearby seed.
_FRESH_SEED = 77_000


def measure_power(
    path: Path,
    count: int,
    *,
    precision: str | None = None,
    graph: str | None = None,
    seed: int = 0,
    console: Console | None = None,
) -> MutationReport:
    """Make `count` mutants of the bundle's graphs in one precision and hold each against the golden cases, as `verify` does.

    A mutant is caught where a golden case fails, where it runs at some cases and not at others, and where it crashes or
    takes too long. A change that gives no graph is drawn anew. Survivors are run beside the original on inputs that the
    golden cases do not hold: those that differ by no more than rounding are equivalent, the others blind spots. In fp32 that
    is the stored tolerance, at most the default one; of a typed graph it is twice its own rounding error, emulated. Everything
    is run by ONNX Runtime on the CPU, in a child process; what graphs of a generator write together is not looked at.

    Raises UsageError for a count below 1, BundleError for a bundle that can't be replayed, ParityError
    where the graph itself does not pass.
    """
    if count < 1:
        raise UsageError(f"--mutate {count}: expected 1 mutant or more")
    console = console or Console(quiet=True)
    started = time.monotonic()
    bundle = Bundle.open(path, check_hashes=False)
    graphs = [bundle.graph(graph)] if graph else list(bundle.graphs.values())
    results: list[Result] = []
    redrawn = 0
    subjects: list[_Subject] = []
    with tempfile.TemporaryDirectory(prefix="attn-mutate-") as folder:
        for number, one in enumerate(graphs):
            share = (count + number) // len(graphs)
            if not share:
                continue
            speaks = console.about(f"{one.name}: ") if len(graphs) > 1 else console
            with speaks.stage("mutate") as line, ChildProcess(_LEAST_SECONDS * 10) as child:
                subject = _Subject(one, precision or one.default_precision, child, Path(folder), seed, len(graphs) > 1)
                made, again = subject.measure(share)
                subjects.append(subject)
                results.extend(made)
                redrawn += again
                line.done(str(MutationReport("", seed, tuple(made)).total))
    said: list[str] = []
    if any(r.verdict != CAUGHT for r in results):
        models = {s.label: s.mutants.model for s in subjects}
        equivalent = [r.mutant for r in results if r.verdict == EQUIVALENT]
        said.extend(weak_proof.notes(bundle.manifest.get("source") or {}, models, equivalent, subjects[-1].alike))
    report = MutationReport(
        subjects[0].precision, seed, tuple(results), redrawn, time.monotonic() - started, tuple(said)
    )
    for text in report.lines():
        console.say(text)
    for note in report.notes:
        console.note(note)
    return report


@dataclass(frozen=True)
class Fresh:
    """A fresh input, the original's answers to it, and per output how far rounding alone may be off there."""

    case: Case[Path]
    answers: Arrays
    noise: dict[str, float]


@dataclass(frozen=True)
class Rounding:
    """max|error| of an emulated graph, and max|reference| there."""

    error: float
    largest: float

    @property
    def relative(self) -> float:
        return self.error / self.largest if self.largest else 0.0


class _Subject:
    """One graph of a bundle in one precision."""

    def __init__(self, graph: Graph, precision: str, child: ChildProcess, work: Path, seed: int, several: bool) -> None:
        if precision not in graph.precisions:
            raise UsageError(
                f'graph {graph.name} of bundle {graph.bundle} has no precision "{precision}"; '
                f"it has {', '.join(graph.precisions)}"
            )
        if not graph.golden:
            raise BundleError(f"bundle {graph.bundle}, graph {graph.name}: has no golden cases. Export it again.")
        self.graph, self.precision, self.seed = graph, precision, seed
        self.label = graph.name if several else ""
        self._entry = graph.precisions[precision]
        self._form = form_of(self._entry)
        self._scheme = of_type(self._entry.type)
        self._child, self._work = child, work
        self._runner = Runner(child, work)
        self._golden = stored_cases(graph, self._entry.type)
        self.mutants = Mutants(self._entry.file, self.label)
        self._fresh: list[Fresh] | None = None
        self.alike: list[Arrays] = []

    def measure(self, count: int) -> tuple[list[Result], int]:
        """Results of `count` mutants, fewer where there are no more; and how many draws gave none."""
        self._check_original()
        results: list[Result] = []
        redrawn = 0
        for site in self.mutants.draw(self.seed):
            if len(results) == count:
                break
            file = self._work / "mutant.onnx"
            try:
                self.mutants.write(site, file)
            except Unchanged:
                redrawn += 1
                continue
            result = self._judge(site.mutant, file)
            if result is None:
                redrawn += 1
            else:
                results.append(result)
        return results, redrawn

    def _check_original(self) -> None:
        """The original passes here, too, and says how long a mutant may take."""
        started = time.monotonic()
        self._runner.open(self._entry.file, self._form)
        for case, expected in self._golden:
            got = self._runner.answer(case, expected)
            checks = check_case(case, expected, got, self._entry.tolerance)
            if not passed(checks):
                d = worst(checks).difference
                raise ParityError(
                    f'bundle {self.graph.bundle}: {self.precision} does not pass its golden case "{case.name}" in ONNX Runtime '
                    f"on the CPU, where mutants are run: output {d.output}, {d.problem or f'error {d.max_error:.3g}'}"
                )
        self._child.seconds = max(_LEAST_SECONDS, _TIMES * (time.monotonic() - started))

    def _judge(self, mutant: Mutant, file: Path) -> Result | None:
        """None for what is no graph: it can't be loaded, or not run at all."""
        ratio, answered = 0.0, 0
        try:
            self._runner.open(file, self._form)
            for case, expected in self._golden:
                checks = check_case(case, expected, self._runner.answer(case, expected), self._entry.tolerance)
                answered += 1
                ratio = max(ratio, worst(checks).ratio)
                if not passed(checks):
                    return Result(mutant, CAUGHT, f"case {case.name}", ratio)
        except (TaskFailed, BundleError):
            if not answered:
                return None
            return Result(mutant, CAUGHT, f"case {self._golden[answered][0].name}, which it can't run", float("inf"))
        except ChildDied as death:
            return Result(mutant, CAUGHT, f"its end ({death.how})", float("inf"))
        except StageError:
            return Result(mutant, CAUGHT, f"the time limit of {self._child.seconds:.0f} s", float("inf"))
        return self._survivor(mutant, ratio)

    def _survivor(self, mutant: Mutant, ratio: float) -> Result:
        """Against the original, on inputs that no golden case holds. The mutant is open; the first time, the original was
        asked in between, and it is opened anew."""
        if self._fresh is None:
            self._fresh = self._ask_original()
            self._runner.open(self._work / "mutant.onnx", self._form)
        shown, error, relative, by = 0.0, 0.0, 0.0, "no input"
        for fresh in self._fresh:
            try:
                got = self._runner.answer(fresh.case, fresh.answers)
            except StageError as problem:
                reason = "it can't run" if isinstance(problem, TaskFailed) else "it ends at"
                return Result(mutant, BLIND, f"{fresh.case.name}, which {reason}", ratio, *[float("inf")] * 3)
            for name, answer in fresh.answers.items():
                limit = fresh.noise[name]
                found = compare(name, answer, got.get(name), Tolerance(limit, 0.0))
                times = found.max_error / limit if limit else (float("inf") if not found.passed else 0.0)
                if found.problem:
                    times = float("inf")
                if times > shown or (times == shown and found.max_error > error):
                    shown, error, relative, by = times, found.max_error, found.relative_error, fresh.case.name
        verdict = EQUIVALENT if shown <= 1 else BLIND
        return Result(mutant, verdict, by, ratio, error, relative, shown)

    def _ask_original(self) -> list[Fresh]:
        """Inputs that the original answers, with what rounding may do to them."""
        cases: list[Case[Path]] = []
        for number, case in enumerate(fresh_inputs(self.graph.inputs, _FRESH_SEED + self.seed)):
            file = self._work / f"fresh.{self.graph.name}.{number}.safetensors"
            write_tensors(file, case.inputs)
            cases.append(Case(case.name, case.sizes, file, file))
        answers = self._answers(self._entry.file, self._form, cases)
        if self._scheme is not None:
            errors = self._rounding(self._scheme, cases)
            # An input at which the type itself overflows shows nothing of the graph.
            answers = [a if e is not None else None for a, e in zip(answers, errors, strict=True)]
        else:
            errors = [{} for _ in cases]
        usual = _usual([e for e in errors if e])
        found = [
            Fresh(case, given, {n: _noise(v, n, error or {}, usual, self._limit) for n, v in given.items()})
            for case, given, error in zip(cases, answers, errors, strict=True)
            if given is not None
        ]
        edges = [f for f in found if f.case.sizes == found[-1].case.sizes]
        self.alike = [f.answers for f in edges]
        return found

    @property
    def _limit(self) -> Tolerance:
        """What fp32 may be off: the stored tolerance, and never more than the default one, so that a loose proof is not
        held to be a good one."""
        stored, default = self._entry.tolerance, Tolerance()
        return Tolerance(min(stored.atol, default.atol), min(stored.rtol, default.rtol), stored.fills)

    def _answers(self, graph: Path, form: Form, cases: Sequence[Case[Path]]) -> list[Arrays | None]:
        """What a graph answers; None at a case that it can't run, or of which nothing is a number."""
        self._runner.open(graph, form)
        found: list[Arrays | None] = []
        like = self._golden[0][1]
        for case in cases:
            try:
                answer = self._runner.answer(case, like)
            except TaskFailed:
                found.append(None)
                continue
            floats = [v for v in answer.values() if v.dtype.kind == "f" and v.size]
            found.append(answer if not floats or any(np.isfinite(v).any() for v in floats) else None)
        return found

    def _rounding(self, scheme: HalfScheme, cases: Sequence[Case[Path]]) -> list[dict[str, Rounding] | None]:
        """Of a typed graph: by output, how far its emulated form is from the fp32 graph at each case; None where that is
        no number."""
        fp32 = self.graph.precisions.get("fp32")
        if fp32 is None:
            raise UsageError(
                f"bundle {self.graph.bundle} has no fp32 graph, by which mutants of {self.precision} are told from rounding; "
                "export it again"
            )
        emulated = self._work / "rounded.onnx"
        onnx.save(scheme.emulate(onnx.load(self._entry.file, load_external_data=False)), emulated)
        rounded = self._answers(emulated, Form(self._form.folder, self._form.large, True), cases)
        exact = self._answers(fp32.file, form_of(fp32), cases)
        found: list[dict[str, Rounding] | None] = []
        for a, b in zip(rounded, exact, strict=True):
            found.append(None if a is None or b is None else _errors(a, b))
        return found


def _errors(rounded: Arrays, exact: Arrays) -> dict[str, Rounding] | None:
    errors: dict[str, Rounding] = {}
    for name, reference in exact.items():
        if reference.dtype.kind != "f" or not reference.size:
            continue
        finite = np.isfinite(reference)
        if not np.isfinite(rounded[name][finite]).all():
            return None
        error = np.abs(rounded[name][finite].astype(np.float64) - reference[finite])
        if error.size:
            errors[name] = Rounding(float(error.max()), float(np.abs(reference[finite]).max()))
    return errors


def _usual(errors: Sequence[Mapping[str, Rounding]]) -> dict[str, float]:
    """By output, the rounding error in the middle of all cases, of max|reference|: that of one case may be small by luck."""
    names = {name for case in errors for name in case}
    return {name: float(np.median([c[name].relative for c in errors if name in c])) for name in names}


def _noise(
    answer: np.ndarray[Any, Any],
    name: str,
    errors: Mapping[str, Rounding],
    usual: Mapping[str, float],
    limit: Tolerance,
) -> float:
    """The largest difference that is no more than rounding.

    Of fp32 it is what is allowed at such an answer. Two honest computations of a typed graph are each off by as much as the
    type's rounding there, and may differ by twice that.
    """
    if answer.dtype.kind != "f":
        return 0.0
    largest = limit.largest(name, answer)
    own = errors[name].error if name in errors else 0.0
    return max(limit.limit(largest), 2 * own, 2 * usual.get(name, 0.0) * largest)
