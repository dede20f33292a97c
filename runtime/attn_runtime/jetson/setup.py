"""Set a deployed bundle up on the board it is on: check, build, verify, time, and write down what came out.

report.json, report.html    of the last setup that came to an end, passed or not; never half of one
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import __version__
from ..bundle import Bundle, Graph, file_bytes
from ..device import host_root
from ..errors import AttnError, BackendError, OutputError, UsageError, did_you_mean
from ..escape import printable
from ..files import Staging
from ..onnx_file import read_graph
from ..text_format import bytes_text
from ..trt.builder import is_quantised
from .boards import find_board
from .checks import Check, check_files, check_machine
from .deploy_manifest import Order, read_order
from .memory import available_memory, plan_build
from .report_page import page
from .setup_steps import Step, run_step

REPORT, PAGE, LOCK = "report.json", "report.html", ".setup.lock"
SCHEMA_VERSION = 1

# Exit codes of a build after which another way of typing may do: wrong precision, crash, refused by TensorRT.
_TYPING_MAY_HELP = (5, 12, 14)
#: Seconds of calls before those that are timed: the clocks of a board rise slowly.
_WARMUP = 1.0


@dataclass(frozen=True)
class SetupOptions:
    """precisions    to build; those that deploy chose when empty
    device        "cuda": engines of TensorRT; "cpu": ONNX Runtime, nothing is built
    weak_fp16     where the typed fp16 graph can't be built, let TensorRT choose the types of its layers
    workspace     most scratch memory of an engine, bytes; None goes by the board and what is free
    rebuild       build anew what is there and fits
    any_board     go on where the board is another than the one the folder was made for
    bench_seconds measured per batch size
    """

    precisions: tuple[str, ...] = ()
    device: str = "cuda"
    weak_fp16: bool = False
    workspace: int | None = None
    level: int | None = None
    rebuild: bool = False
    any_board: bool = False
    bench_seconds: float = 2.0


@dataclass
class _Run:
    """What is known so far; `report` is its JSON."""

    folder: Path
    order: Order
    options: SetupOptions
    bundle: Bundle
    precisions: tuple[str, ...]
    say: Callable[[str], object]
    lock: int
    started: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    doctor: Mapping[str, Any] | None = None
    checks: list[Check] = field(default_factory=list)
    builds: list[dict[str, Any]] = field(default_factory=list)
    verified: list[dict[str, Any]] = field(default_factory=list)
    benches: list[dict[str, Any]] = field(default_factory=list)
    failed: tuple[int, str] | None = None

    def fail(self, code: int, error: str) -> None:
        """The first failure is what the setup ends with; the others are in the report."""
        self.failed = self.failed or (code or BackendError.exit_code, error)

    def step(self, arguments: Sequence[str], what: str) -> Step:
        return run_step(arguments, self.lock, lambda seconds: self.say(f"  {what}: {seconds:.0f} s"))


class SetupError(AttnError):
    """A setup that came to an end and did not pass; `exit_code` is that of its first failure."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def set_up(folder: Path, options: SetupOptions, say: Callable[[str], object] = lambda line: None) -> dict[str, Any]:
    """Set up the deployed `folder` on this machine; returns the report, which is then in the folder too.

    Raises BundleError where the folder or its bundle is damaged, UsageError for options that don't fit them, OutputError
    where it can't be written or another setup is under way: then there is no report. A setup that does not pass returns its
    report with `passed` false.
    """
    if options.device not in ("cuda", "cpu"):
        raise UsageError(f'unknown device "{options.device}"; available: cuda, cpu')
    order = read_order(folder)
    find_board(order.board)
    with _locked(folder) as lock:
        bundle = Bundle.open(folder / order.bundle)
        run = _Run(folder, order, options, bundle, _precisions(bundle, order, options), say, lock)
        _check(run)
        if run.failed is None and options.device == "cuda":
            _build(run)
        if not any(check.state == "fail" for check in run.checks):
            _verify(run)
            _bench(run)
        report = _report(run)
        _write(folder, report)
    return report


def require(report: Mapping[str, Any]) -> None:
    """SetupError unless the setup passed."""
    if not report["passed"]:
        raise SetupError(f"{report['error']} (all of it: {REPORT}, {PAGE})", report["exit_code"])


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """One setup at a time, and none while a build that outlived its setup still takes memory: its child holds the lock too."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise OutputError(f"{folder}: {error.strerror}; the setup writes engines and a report there") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    except BlockingIOError:
        raise OutputError(
            f"{folder}: another setup, or a build of one that was killed, is under way there; wait for it"
        ) from None
    finally:
        os.close(descriptor)


def _precisions(bundle: Bundle, order: Order, options: SetupOptions) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(options.precisions or order.precisions))
    for name in wanted:
        for graph in bundle.graphs.values():
            if name not in graph.precisions:
                raise UsageError(
                    f'{bundle.label(graph)}: unknown precision "{name}"; {did_you_mean(name, graph.precisions)}'
                    f"available: {', '.join(graph.precisions)}"
                )
    return wanted


# --- check ------------------------------------------------------------------------------------------------------------


def _check(run: _Run) -> None:
    run.say(f"checking {run.order.board} with JetPack {run.order.jetpack}")
    run.checks.append(check_files(run.folder, run.order))
    done = run.step(["doctor", "--json"], "doctor")
    if not isinstance(done.document, dict):
        run.checks.append(Check("doctor", "fail", done.error or "it told nothing"))
    else:
        run.doctor = done.document
        options = run.options
        weights = sum(_weights(run, graph, name) for graph in run.bundle.graphs.values() for name in run.precisions)
        run.checks += check_machine(
            done.document, run.order, options.device == "cuda", options.any_board, host_root(), run.folder, weights
        )
    for check in run.checks:
        run.say(f"  {check.state:4} {check.name}: {check.told}")
    for check in run.checks:
        if check.state == "fail":
            run.fail(BackendError.exit_code, f"{check.name}: {check.told}")


# --- build ------------------------------------------------------------------------------------------------------------


def _build(run: _Run) -> None:
    """One engine after another; one that fails does not keep the others from being tried."""
    for name in run.precisions:
        for graph in run.bundle.graphs.values():
            run.say(f"building {_called(run, graph)} in {name}")
            built = _build_one(run, graph, name)
            run.builds.append(built)
            run.say(f"  {_build_line(built)}")
            if built["state"] == "failed":
                run.fail(built["exit_code"], f"{_called(run, graph)} in {name}: {built['error']}")


def _build_one(run: _Run, graph: Graph, precision: str) -> dict[str, Any]:
    board, options = find_board(run.order.board), run.options
    told: dict[str, Any] = {"graph": graph.name, "precision": precision, "state": "failed", "typing": "", "tries": []}
    kinds = ["strong"]
    # What is quantised has the types of its graph, whatever the type of its rest.
    may_choose = graph.precisions[precision].type == "fp16" and not is_quantised(
        read_graph(graph.precision_for(precision, "tensorrt")[1].file, run.bundle.label(graph))
    )
    if options.weak_fp16 and may_choose:
        kinds.append("weak")
    for typing in kinds:
        try:
            # Each time anew: what is free changes, and an engine that was built takes none of it.
            budget = plan_build(
                _weights(run, graph, precision), board.workspace, available_memory(host_root()), options.workspace
            )
        except AttnError as no_room:
            return {**told, "error": str(no_room), "exit_code": no_room.exit_code}
        told |= {"workspace": budget.workspace, "available": budget.available, "taken": budget.taken}
        command = [
            "compile",
            str(run.bundle.path),
            "--graph",
            graph.name,
            "--precision",
            precision,
            "--backend",
            "tensorrt",
        ]
        command += ["--workspace", str(budget.workspace), "--json"]
        command += ["--timing-cache", str(run.folder / ".timings")]
        command += ["--builder-level", str(options.level)] if options.level is not None else []
        command += [] if options.rebuild else ["--keep"]
        command += ["--weakly-typed"] if typing == "weak" else []
        done = run.step(command, f"{_called(run, graph)} in {precision}")
        told["tries"].append(
            {"typing": typing, "exit_code": done.exit_code, "error": done.error, "details": done.details}
        )
        if done.exit_code == 0 and isinstance(done.document, dict):
            return _built(told, done, typing)
        if done.exit_code not in _TYPING_MAY_HELP:
            break
        if typing == "strong" and len(kinds) > 1:
            run.say(f"  the typed graph can't be built ({done.error}); trying weakly typed fp16, as asked")
    error = told["tries"][-1]["error"]
    if len(kinds) == 1 and may_choose and told["tries"][-1]["exit_code"] in _TYPING_MAY_HELP:
        error += ". To let TensorRT choose the types of the layers instead: ./setup.sh --weak-fp16"
    return {**told, "error": error, "exit_code": told["tries"][-1]["exit_code"]}


def _built(told: dict[str, Any], done: Step, typing: str) -> dict[str, Any]:
    key = done.document["key"]
    fused = [block["fused"] for block in key["attention"]]
    return {
        **told,
        "state": "kept" if done.document.get("kept") else "built",
        "typing": typing,
        "engine": Path(done.document["engine"]).name,
        "size": key["engine_size"],
        "scratch": key["scratch"],
        "seconds": done.seconds,
        "build_seconds": key["seconds"],
        "tensorrt": key["version"],
        "counts": key["audit"]["counts"],
        "unaudited": key["audit"]["unaudited"],
        "attention": {"blocks": len(fused), "fused": sum(fused)},
        "notes": done.document["notes"],
    }


def _build_line(built: Mapping[str, Any]) -> str:
    if built["state"] == "failed":
        return f"FAILED: {built['error']}"
    counts = ", ".join(f"{count} in {dtype}" for dtype, count in built["counts"].items()) or "nothing to multiply"
    weak = ", WEAKLY TYPED: TensorRT chose the types" if built["typing"] == "weak" else ""
    return f"{built['state']} {built['engine']}: {bytes_text(built['size'])}, {built['build_seconds']:.0f} s, {counts}{weak}"


def _weights(run: _Run, graph: Graph, precision: str) -> int:
    """Bytes of the graph and of its own weights: other precisions may have theirs in the same file."""
    _, entry = graph.precision_for(precision, "tensorrt")
    return file_bytes([entry])


def _called(run: _Run, graph: Graph) -> str:
    return graph.name if len(run.bundle.graphs) > 1 else run.bundle.name


# --- verify and time --------------------------------------------------------------------------------------------------


def _usable(run: _Run, precision: str) -> bool:
    """Whether every graph of that precision has what runs it."""
    return not any(built["precision"] == precision and built["state"] == "failed" for built in run.builds)


def _where(run: _Run) -> list[str]:
    return ["--backend", "trt" if run.options.device == "cuda" else "ort", "--device", run.options.device]


def _verify(run: _Run) -> None:
    for name in run.precisions:
        if not _usable(run, name):
            run.verified.append(
                {"precision": name, "state": "skipped", "error": "an engine is missing", "report": None}
            )
            continue
        run.say(f"verifying {name} against what PyTorch answered")
        done = run.step(["verify", str(run.bundle.path), "--precision", name, *_where(run), "--json"], f"verify {name}")
        report = done.document if isinstance(done.document, dict) else None
        passed = done.exit_code == 0 and bool(report and report["passed"])
        error = "" if passed else done.error or "it told nothing"
        state = "passed" if passed else "failed"
        run.verified.append(
            {"precision": name, "state": state, "error": error, "seconds": done.seconds, "report": report}
        )
        cases = report["cases"] if report else []
        run.say(f"  {state}: {sum(case['passed'] for case in cases)} of {len(cases)} golden cases {error}".rstrip())
        if not passed:
            run.fail(done.exit_code, f"verify {name}: {error}")


def _bench(run: _Run) -> None:
    for name in run.precisions:
        if not _usable(run, name):
            continue
        for graph in run.bundle.graphs.values():
            run.say(f"timing {_called(run, graph)} in {name}")
            command = [
                "bench",
                str(run.bundle.path),
                "--precision",
                name,
                "--graph",
                graph.name,
                *_where(run),
                "--json",
            ]
            seconds = run.options.bench_seconds
            command += ["--seconds", str(seconds), "--warmup", str(min(seconds, _WARMUP))]
            done = run.step(command, "bench")
            report = done.document if done.exit_code == 0 and isinstance(done.document, dict) else None
            error = "" if report else done.error or "it told nothing"
            run.benches.append({"graph": graph.name, "precision": name, "error": error, "report": report})
            for size in report["results"] if report else ():
                run.say(
                    f"  batch {size['batch']}: {size['p50_ms']:.3f} ms, p99 {size['p99_ms']:.3f} ms, "
                    f"{size['throughput']:.1f} items/s"
                )
            if error:
                run.say(f"  FAILED: {error}")
                run.fail(done.exit_code, f"bench {_called(run, graph)} in {name}: {error}")


# --- report -----------------------------------------------------------------------------------------------------------


def _report(run: _Run) -> dict[str, Any]:
    finished = datetime.now(timezone.utc)
    order, board = run.order, find_board(run.order.board)
    jetpack = (run.doctor or {}).get("jetpack") or {}
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "jetson-setup",
        "passed": run.failed is None,
        "error": run.failed[1] if run.failed else "",
        "exit_code": run.failed[0] if run.failed else 0,
        "started": run.started.isoformat(timespec="seconds"),
        "seconds": round((finished - run.started).total_seconds(), 3),
        "bundle": order.bundle,
        "model": run.bundle.name,
        "task": run.bundle.manifest["task"],
        "made_for": {
            "board": board.title,
            "jetpack": order.jetpack,
            "notes": list(order.notes),
            "made_by": order.made_by,
        },
        "board": jetpack.get("board"),
        "jetpack": jetpack.get("version"),
        "l4t": jetpack.get("l4t"),
        "device": run.options.device,
        "options": asdict(run.options),
        "setup_by": f"attn-runtime {__version__}, Python {sys.version.split()[0]}",
        "checks": [asdict(check) for check in run.checks],
        "builds": run.builds,
        "verified": run.verified,
        "benches": run.benches,
        "doctor": run.doctor,
    }


def _write(folder: Path, report: Mapping[str, Any]) -> None:
    """Both files, whole and of one setup."""
    try:
        staging = Staging(folder / REPORT)
        try:
            (staging.new / REPORT).write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", encoding="utf-8")
            (staging.new / PAGE).write_text(page(report), encoding="utf-8")
            staging.publish()
        finally:
            staging.discard()
    except OSError as error:
        raise OutputError(f"{folder / REPORT}: {error.strerror or error}; what was there is still there") from error


def summary_line(report: Mapping[str, Any]) -> str:
    """What came out, in one line for a person."""
    cases = [case for one in report["verified"] if one["report"] for case in one["report"]["cases"]]
    verdict = "passed" if report["passed"] else "FAILED"
    return printable(
        f"{verdict}: {sum(case['passed'] for case in cases)} of {len(cases)} golden cases are PyTorch's; {REPORT}, {PAGE}",
        400,
    )
