"""Hold a graph, as this machine runs it, against what PyTorch answered when the bundle was made. Needs no torch."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import arguments, backends, child_process
from ..bundle import Bundle, to_fp16, to_reference_dtype
from ..compare import Difference, Tolerance, Worst, compare_all
from ..errors import AttnError, BundleError, UsageError
from ..escape import printable, shell_words
from ..files import is_file
from ..logs import Log
from ..session import check_open, open_session
from .apart import answer_or_error, check_time_limit, fields_of, run_apart
from .reports import CaseResult, ReportFiles, VerifyReport

_log = Log(__name__)

if TYPE_CHECKING:
    from ..generate import Replayed


def verify(
    path: str | os.PathLike[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    graph: str | None = None,
    precision: str | None = None,
    cache: str | os.PathLike[str] | None = None,
    on_case: Callable[[CaseResult], None] | None = None,
    on_generated: Callable[[Replayed], None] | None = None,
    check: bool = True,
    time_limit: float | None = None,
    junit: str | os.PathLike[str] | None = None,
    markdown: str | os.PathLike[str] | None = None,
) -> VerifyReport:
    """Replay every golden case of the bundle at `path` and compare at the tolerance stored for that precision.

    `graph` None takes every graph, and of a generator what they write together. `on_case` and `on_generated` are called
    after each case. With `cache`, what is kept there is what is replayed; it is put there first where it is not, and read for
    its hash as the bundle's files are. `time_limit` is in seconds for all of it: the graphs are then run in a process of their
    own, since one that loops for ever can't be ended in this one; None waits for as long as they take. `junit` and `markdown`
    are files to write what was found to, also where a case does not match or nothing could be compared: JUnit XML for a build
    server, a table for its page. Raises ParityError when a case does not match (with `check=False` the report is returned
    instead, for callers that print it first: `VerifyReport.require`), UsageError for a plain ONNX file, BundleError for a bundle
    without golden cases, StageError when the time is over, OutputError for a file that can't be written, and what `open_session`
    raises.
    """
    arguments.expect(arguments.PATH, path=path)
    check_open(path, device, backend, graph, precision, cache=cache)
    arguments.expect(arguments.FLAG, check=check)
    arguments.expect(arguments.PATH | arguments.NONE, junit=junit, markdown=markdown)
    arguments.expect_call("on_case", on_case, None)
    arguments.expect_call("on_generated", on_generated, None)
    check_time_limit(time_limit)
    asked: dict[str, Any] = {
        "path": os.fspath(path),
        "backend": backend,
        "device": device,
        "graph": graph,
        "precision": precision,
        "cache": None if cache is None else os.fspath(cache),
    }
    files = ReportFiles.checked(junit, markdown)
    try:
        if time_limit is None:
            report = _replay_all(**asked, on_case=on_case, on_generated=on_generated)
        else:
            report = _replay_apart(asked, on_case, on_generated, time_limit)
    except AttnError as error:
        files.write(error, Path(path).name)
        raise
    files.write(report, report.path)
    if check:
        report.require()
    return report


def _replay_all(
    path: str | Path,
    backend: str | None,
    device: str,
    graph: str | None,
    precision: str | None,
    cache: str | None,
    on_case: Callable[[CaseResult], None] | None,
    on_generated: Callable[[Replayed], None] | None,
) -> VerifyReport:
    path = Path(path)
    if is_file(path):
        raise UsageError(
            f"{path.name} is a plain ONNX file, without golden cases to hold it against; verify a bundle, or compare "
            f"it with its source: {shell_words('attn-export', 'verify', path.name)} SOURCE"
        )
    bundle = Bundle.open(path, paranoid=True)
    cases: list[CaseResult] = []
    tolerances: dict[str, Tolerance] = {}
    told, passed_over = ("", "", ""), tuple[str, ...]()
    for name in [bundle.graph(graph).name] if graph else list(bundle.graphs):
        if cache is not None:  # a session that keeps a graph runs the one that it had: the next one runs what is kept
            open_session(bundle, device, backend, graph=name, precision=precision, cache=cache).close()
        with open_session(bundle, device, backend, graph=name, precision=precision, cache=cache) as session:
            told, passed_over = (session.backend, session.device, session.choice), session.passed_over
            found = bundle.graph(name)
            assert session.precision is not None  # it was opened from a bundle
            tolerances[name] = found.precisions[session.precision].tolerance
            entry = found.precisions[session.precision]
            if not found.golden_for(entry.held_to):
                raise BundleError(f"{session.where}: has no golden cases to verify against. Export it again.")
            for case in found.cases(entry.held_to):
                half = entry.half_io
                inputs = to_fp16(case.inputs) if half else case.inputs
                started = time.perf_counter()
                got = session.run(inputs)
                seconds = time.perf_counter() - started
                got = to_reference_dtype(got, case.outputs) if half else got
                differences = tuple(compare_all(case.outputs, got, tolerances[name], half_io=half))
                cases.append(CaseResult(name, case.name, case.sizes, seconds, differences))
                _log.debug("%s: case %s, %.3f s: %s", session.where, case.name, seconds, cases[-1].passed)
                if on_case:
                    on_case(cases[-1])
    generated: list[Replayed] = []
    if graph is None and bundle.manifest.get("generation") and backends.computes(told[0]):
        from ..generate import replay

        generated = replay(bundle, told[1], told[0], precision=precision, cache=cache, on_result=on_generated)
    notes: tuple[str, ...] = ()
    if graph is None and not generated and bundle.asset("generation") is not None:
        why = (
            "holds no answers of PyTorch"
            if not bundle.manifest.get("generation")
            else f"{told[0]} writes none of its own"
        )
        notes = (f"what the graphs write together is not proven: {why}",)
    _log.info(
        "%s: %d golden cases and %d written answers were held against PyTorch's", path, len(cases), len(generated)
    )
    return VerifyReport(path.name, *told, tolerances, tuple(cases), tuple(generated), notes, passed_over)


# --- in a process of its own --------------------------------------------------------------------------------------------


def _replay_apart(
    asked: Mapping[str, Any],
    on_case: Callable[[CaseResult], None] | None,
    on_generated: Callable[[Replayed], None] | None,
    time_limit: float,
) -> VerifyReport:
    from ..generate import Replayed

    def tell(message: dict[str, Any]) -> None:
        if "case" in message and on_case is not None:
            on_case(_case_of(message["case"]))
        if "generated" in message and on_generated is not None:
            on_generated(Replayed(**message["generated"]))

    stage = f"verifying {printable(Path(asked['path']).name)}"
    document = run_apart(f"{__name__}:replay_here", stage, time_limit, tell, **asked)
    return VerifyReport(
        **fields_of(VerifyReport, document)
        | {
            "tolerances": {name: Tolerance.from_json(entry) for name, entry in document["tolerances"].items()},
            "cases": tuple(map(_case_of, document["cases"])),
            "generation": tuple(Replayed(**one) for one in document["generation"]),
        }
    )


def replay_here(**asked: Any) -> dict[str, Any]:
    """The task of the child process: the report as JSON, NaN and infinity included, and each case as it is done."""

    def replayed() -> dict[str, Any]:
        report = _replay_all(
            **asked,
            on_case=lambda case: child_process.send({"case": _case_document(case)}),
            on_generated=lambda one: child_process.send({"generated": vars(one)}),
        )
        return vars(report) | {
            "tolerances": {name: tolerance.to_json() for name, tolerance in report.tolerances.items()},
            "cases": [_case_document(case) for case in report.cases],
            "generation": [vars(one) for one in report.generation],
        }

    return answer_or_error(replayed)


def _case_document(case: CaseResult) -> dict[str, Any]:
    return vars(case) | {"differences": [vars(difference) for difference in case.differences]}


def _case_of(document: Mapping[str, Any]) -> CaseResult:
    return CaseResult(**{**document, "differences": tuple(_difference_of(each) for each in document["differences"])})


def _difference_of(document: Mapping[str, Any]) -> Difference:
    worst = tuple(Worst(tuple(place), *values) for place, *values in document["worst"])
    return Difference(**{**document, "worst": worst})
