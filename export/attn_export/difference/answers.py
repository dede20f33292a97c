"""The same inputs through both: golden cases of the first, or inputs drawn in the ranges that both take; run here, on the CPU."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from attn_runtime import Session, open_session
from attn_runtime.bundle import Arrays, Bundle, Case, Graph, Precision, to_fp16
from attn_runtime.compare import Tolerance
from attn_runtime.errors import BackendError, InputError, UsageError
from attn_runtime.escape import printable
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec, named_dims
from attn_runtime.text_format import columns, worst_table

from ..parity import Check, check_case
from .changes import MOST_ROWS

#: How the cases are asked for by name; any other text is how many to draw.
GOLDEN = "golden"
#: The backend that runs both, whatever a measurement chose for one of them.
LIBRARY = "ort"


@dataclass(frozen=True)
class Answers:
    """How far the answers of B are from those of A.

    checks      one for each output at each case; the reference is A
    left_out    case -> why B does not take its inputs
    why_not     why nothing could be compared; empty where something was
    ran_by      the backend, or the two of them
    """

    checks: tuple[Check, ...]
    left_out: Mapping[str, str]
    why_not: str = ""
    ran_by: str = ""

    @property
    def agree(self) -> bool:
        return bool(self.checks) and all(check.difference.passed for check in self.checks)

    @property
    def exact(self) -> bool:
        """Whether they are the same to the last bit."""
        return self.agree and all(check.difference.max_error == 0 for check in self.checks)

    @property
    def worst(self) -> Check | None:
        return max(self.checks, key=lambda check: check.ratio, default=None)

    def of_cases(self) -> dict[str, float]:
        """The worst error of each case, over its limit."""
        found: dict[str, float] = {}
        for check in self.checks:
            found[check.case.name] = max(found.get(check.case.name, 0.0), check.ratio)
        return found

    def lines(self) -> Iterator[str]:
        """A sentence, and where they are not exactly equal a table: of all, or of the worst case of each output."""
        if self.why_not:
            yield f"answers: not compared, {printable(self.why_not, None)}"
            return
        cases = len({check.case.name for check in self.checks})
        verdict = "the same" if self.exact else "within the tolerance" if self.agree else "they differ"
        yield f"answers to the same {cases} cases, by {self.ran_by}: {verdict}"
        if not self.exact:
            yield from (f"  {line}" for line in columns(_rows(_shown(self.checks))).split("\n"))
        failed = [(check.case.name, check.difference) for check in self.checks if check.difference.worst]
        if failed:
            yield from (f"  {line}" for line in worst_table(failed[:4]).split("\n"))
        for case, why in self.left_out.items():
            yield f"  case {printable(case)} is left out: {printable(why, None)}"

    def to_json(self) -> dict[str, Any]:
        return {
            "compared": not self.why_not,
            "agree": self.agree,
            "why_not": self.why_not or None,
            "backend": self.ran_by or None,
            "checks": [check.to_json() for check in self.checks],
            "left_out": dict(self.left_out),
        }


def answers(
    bundles: tuple[Bundle, Bundle],
    graphs: tuple[Graph, Graph],
    precisions: tuple[str, str],
    *,
    cases: str = GOLDEN,
    seed: int = 0,
    rtol: float | None = None,
    classes: Collection[str] = (),
) -> Answers:
    """Run one graph of A and of B, and compare at the wider of their two tolerances, or at `rtol`. `classes` are the outputs in
    whose rows the greatest element is a class.

    Raises UsageError where cases are to be drawn and can't be, and what a damaged bundle raises.
    """
    first, second = (graph.precisions[name] for graph, name in zip(graphs, precisions, strict=True))
    if reason := _apart(*graphs):
        return Answers((), {}, reason)
    chosen = _golden(graphs[0], first, second) if cases == GOLDEN else _drawn(bundles[0], graphs, int(cases), seed)
    tolerance = _wider(first.tolerance, second.tolerance, rtol)
    checks: list[Check] = []
    left_out: dict[str, str] = {}
    try:
        with ExitStack() as stack:
            one, other = _open_both(stack, bundles, graphs, precisions)
            ran_by = " and ".join(dict.fromkeys((one.backend, other.backend)))
            for case in chosen:
                expected = _run(one, first, case.inputs)
                try:
                    got = _run(other, second, case.inputs)
                except InputError as problem:
                    left_out[case.name] = str(problem)
                    continue
                half_io = first.half_io or second.half_io
                found = check_case(case, expected, got, tolerance, classifier=bool(classes), half_io=half_io)
                checks += [c if c.difference.output in classes else replace(c, argmax_agreement=None) for c in found]
    except BackendError as problem:
        return Answers((), {}, str(problem))
    if not checks:
        why = next(iter(left_out.values()), "A has no golden cases; draw some with --cases 8")
        return Answers((), left_out, f"B takes none of A's inputs: {why}" if left_out else why)
    return Answers(tuple(checks), left_out, ran_by=ran_by)


def _open_both(
    stack: ExitStack, bundles: tuple[Bundle, Bundle], graphs: tuple[Graph, Graph], precisions: tuple[str, str]
) -> tuple[Session, Session]:
    """Both by one library, or the difference would be the libraries'; where that can't run one of them, each by its own."""

    def opened(backend: str | None) -> list[Session]:
        return [
            stack.enter_context(open_session(bundle, "cpu", backend, graph=graph.name, precision=name))
            for bundle, graph, name in zip(bundles, graphs, precisions, strict=True)
        ]

    try:
        one, other = opened(LIBRARY)
    except BackendError:
        one, other = opened(None)
    return one, other


def check_cases(cases: str) -> None:
    """UsageError for what is neither "golden" nor a number from 1 on."""
    if cases != GOLDEN and not (cases.isascii() and cases.isdigit() and 1 <= int(cases) <= 10_000):
        raise UsageError(f"--cases {cases}: expected {GOLDEN}, or how many to draw, from 1 to 10000")


def _apart(a: Graph, b: Graph) -> str:
    """Why no inputs are those of both, in words; empty where some may be."""
    sides = [{spec.name: spec for spec in graph.inputs} for graph in (a, b)]
    missing, unknown = ([n for n in x if n not in y] for x, y in (sides, sides[::-1]))
    told = [f"only {side} has input {', '.join(names)}" for side, names in (("A", missing), ("B", unknown)) if names]
    for name, spec in sides[0].items():
        other = sides[1].get(name)
        if other is not None and (spec.dtype, len(spec.dims)) != (other.dtype, len(other.dims)):
            kinds = [f"{s.dtype} of rank {len(s.dims)}" for s in (spec, other)]
            told.append(f"input {name} is {kinds[0]} in A and {kinds[1]} in B")
    if not told and not {s.name for s in a.outputs} & {s.name for s in b.outputs}:
        told.append("they have no output of one name")
    return "; ".join(told)


def _golden(graph: Graph, first: Precision, second: Precision) -> Iterator[Case[Arrays]]:
    """Those that both precisions are held to."""
    also = {ref.name for ref in graph.golden_for(second.held_to)}
    return (case for case in graph.cases(first.held_to) if case.name in also)


def _drawn(bundle: Bundle, graphs: tuple[Graph, Graph], count: int, seed: int) -> Iterator[Case[Arrays]]:
    """Inputs of any sizes that both graphs take."""
    if "inputs_from" in bundle.manifest["source"] or bundle.asset("generation") is not None:
        raise UsageError(
            f"--cases {count}: the inputs of {bundle.path.name} depend on one another, and can't be drawn one by one; "
            f"take --cases {GOLDEN}"
        )
    specs = tuple(map(_common, graphs[0].inputs, _in_order(graphs[0].inputs, graphs[1].inputs)))
    dims = named_dims(specs)
    rng = np.random.default_rng(seed)
    for number in range(count):
        sizes = {name: int(rng.integers(dim.min, dim.max + 1)) for name, dim in dims.items()}
        yield Case(f"drawn-{number}", sizes, draw_inputs(specs, sizes, seed + number), {})


def _in_order(like: tuple[TensorSpec, ...], specs: tuple[TensorSpec, ...]) -> Iterator[TensorSpec]:
    by_name = {spec.name: spec for spec in specs}
    return (by_name[spec.name] for spec in like)


def _common(a: TensorSpec, b: TensorSpec) -> TensorSpec:
    """`a` in the ranges that `b` takes too. UsageError where there is nothing in common."""
    dims = []
    for axis, (one, other) in enumerate(zip(a.dims, b.dims, strict=True)):
        low, high = max(one.min, other.min), min(one.max, other.max)
        if low > high:
            raise UsageError(
                f'--cases: input "{a.name}", axis {axis}: A takes {one}, B takes {other}, and no size is in both; take '
                f"--cases {GOLDEN}"
            )
        dims.append(Dim(one.name, low, min(max(one.opt, low), high), high))
    lows = [s.low for s in (a, b) if s.low is not None]
    highs = [s.high for s in (a, b) if s.high is not None]
    return replace(a, dims=tuple(dims), low=max(lows, default=None), high=min(highs, default=None))


def _run(session: Session, precision: Precision, inputs: Arrays) -> Arrays:
    """Answers in float32 where the file has float16 borders."""
    if not precision.half_io:
        return session.run(inputs)
    found = session.run(to_fp16(inputs))
    return {name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in found.items()}


def _wider(a: Tolerance, b: Tolerance, rtol: float | None) -> Tolerance:
    """What allows most; fills are A's, whose answers are the reference."""
    if rtol is not None:
        return replace(a, rtol=rtol, rtols={})
    rtols = {name: max(a.of(name).rtol, b.of(name).rtol) for name in (*a.rtols, *b.rtols)}
    return replace(a, atol=max(a.atol, b.atol), rtol=max(a.rtol, b.rtol), rtols=rtols)


def _shown(checks: Sequence[Check]) -> Sequence[Check]:
    if len(checks) <= MOST_ROWS:
        return checks
    worst: dict[str, Check] = {}
    for check in sorted(checks, key=lambda check: -check.ratio):
        worst.setdefault(check.difference.output, check)
    return list(worst.values())[:MOST_ROWS]


def _rows(checks: Sequence[Check]) -> list[tuple[str, ...]]:
    agreements = any(check.argmax_agreement is not None for check in checks)
    rows: list[tuple[str, ...]] = [("case", "output", "error / max|A|", "of the limit", "")]
    if agreements:
        rows[0] = (*rows[0][:4], "same class", "")
    for check in checks:
        difference, share = check.difference, check.argmax_agreement
        row = [printable(check.case.name), printable(difference.output)]
        finite = math.isfinite(difference.relative_error)
        row += [f"{difference.relative_error:.1e}" if finite else "-", f"{check.ratio:.2g}" if finite else "-"]
        row += [f"{share:.1%}" if share is not None else ""] if agreements else []
        rows.append((*row, "" if difference.passed else printable(difference.problem) or "over the limit"))
    return rows
