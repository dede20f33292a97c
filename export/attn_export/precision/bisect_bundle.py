"""Bisect what the user names: a bundle or a plain graph, against one of its precisions or another file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import onnx
from attn_runtime.bundle import Bundle, Graph, OnnxWriter, check_target
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from attn_runtime.errors import BundleError, UsageError, did_you_mean
from attn_runtime.files import irregular, is_file, not_utf8
from attn_runtime.onnx_file import read_graph
from attn_runtime.spec import TensorSpec
from attn_runtime.tasks.plots import check_plot
from onnx import TensorProto

from ..console import Console
from ..onnx_graph import read_info
from ..parity import ReferenceSet, golden_record, own_record
from . import half, schemes
from .bisect_plot import plot_bisection
from .bisect_report import Bisected
from .conversion import SECONDS, drawn_inputs, save_whole, workshop
from .half import Conversion, TypedGraph, convert_graph
from .layerwise import Bisection, compare_graphs, precision_of
from .sources import conversion_of, embedded_inputs
from .typed import read_cast


def bisect(
    path: Path,
    against: str | None = None,
    *,
    graph: str | None = None,
    case: str | None = None,
    inputs: Sequence[str] = (),
    dims: Sequence[str] = (),
    mend: Path | None = None,
    rtol: float | None = None,
    force: bool = False,
    plot: Path | None = None,
    console: Console | None = None,
    stage_seconds: float = SECONDS,
) -> Bisected:
    """Compare the fp32 graph of `path` with another of the same model, tensor by tensor, and optionally mend that one.

    path      a bundle, compared at its golden cases (or at `case` alone), or an .onnx, at inputs that are drawn: at the
              corners of `inputs` and `dims`, as `convert` takes them, by default what the file's metadata says
    against   a precision of the bundle, or an .onnx file; by default the bundle's only other precision
    mend      an .onnx to write: the graph of `against`, in its own precision, with in fp32 what has to be
    rtol      the error allowed in that, of max|reference|; `force` replaces what is in its place
    plot      a .png, .svg or .pdf to write: the error along the graph

    Raises UsageError for names that are unknown and for a graph of another model, BundleError for damaged files and a
    bundle without golden cases, ParityError when mending finds no way.
    """
    console = console or Console(quiet=True)
    if plot is not None:
        check_plot(plot)
    if mend is not None:
        if mend.suffix != ".onnx":
            raise UsageError(f"-o {mend}: got suffix {mend.suffix or '(none)'}, expected NAME.onnx")
        check_target(mend, force)
    for named in (str(path), against or ""):
        if problem := not_utf8(named):
            raise UsageError(f"{named}: its path {problem}")
    specs = drawn_inputs(inputs, dims)
    with workshop(stage_seconds) as (work, isolated):
        source, other, label, record, limits, own = _named(path, against, graph, specs, work, isolated)
        chosen = _cases(record, case)
        with console.stage("bisect") as line:
            cases = [(c.name, c.inputs) for c in chosen.cases]
            bisection = compare_graphs(source, other, cases, isolated, work)
            line.done(f"{len(bisection.steps)} tensors of {source.name} and {label} at {len(cases)} shapes")
        known = schemes.get(label) if label in schemes.names() else precision_of(_load(other))
        scheme = known if isinstance(known, schemes.HalfScheme) else None
        name = "fp32" if known is None else known.name
        own = own or (limits if known is None else known.tolerance(rtol, limits))
        holds = _holds(bisection, read_graph(source, source.name).outputs, own)
        result = Bisected(path.name, label, name, tuple(c.name for c in chosen.cases), bisection, holds)
        if mend is not None:
            if scheme is None and known is not None:
                raise UsageError(
                    f"-o {mend}: {label} is quantised; to keep more of it in fp32, convert with a lower --max-error"
                )
            if scheme is None:
                raise UsageError(f"-o {mend}: {label} is in fp32, where there is nothing to keep; leave -o out")
            scheme.require()
            half_io = any(i.type.tensor_type.elem_type == TensorProto.FLOAT16 for i in _load(other).graph.input)
            tolerance = scheme.tolerance(rtol, limits)
            conversion = conversion_of(source, scheme, record, tolerance, half_io, work / "mend", isolated)
            typed = _mended(conversion, other, graph or "model", console)
            with OnnxWriter(mend, force) as writer:
                save_whole(typed, writer)
                writer.commit()
            result = replace(result, mended=replace(typed, path=mend))
        if plot is not None:
            plot_bisection(result, plot)
        return result


def _mended(conversion: Conversion, other: Path, graph: str, console: Console) -> TypedGraph:
    """`other` with in fp32 what it has there already and what its ranges ask for; what of it is not needed is dropped again."""
    own = read_cast(other)
    needed = half.start(conversion).in_fp32 | {*own.in_fp32, *own.moved_in_fp32}
    return convert_graph(conversion, graph, console, half.candidate(conversion, needed, "own"))


def _holds(bisection: Bisection, outputs: Collection[str], tolerance: Tolerance) -> bool:
    """Whether the graph's answers, as far as they are floats, are within the tolerance."""
    answers = [step for step in bisection.steps if step.tensor in outputs]
    return bool(answers) and all(not s.lost and s.error <= tolerance.of(s.tensor).limit(s.scale) for s in answers)


class _Named(NamedTuple):
    """`limits` is the fp32 graph's tolerance, and `own` the other graph's, where a bundle has it."""

    source: Path
    other: Path
    label: str
    record: ReferenceSet
    limits: Tolerance
    own: Tolerance | None = None


def _named(
    path: Path,
    against: str | None,
    graph: str | None,
    inputs: Sequence[TensorSpec] | None,
    work: Path,
    isolated: ChildProcess,
) -> _Named:
    if is_file(path):
        if against is None:
            raise UsageError(f"{path.name} is a plain graph; name the other one with --against FILE.onnx")
        other = _file(against, [])
        folder = work / "drawn"
        folder.mkdir()
        record = own_record(path, read_info(path), inputs or embedded_inputs(path), folder, isolated)
        return _Named(path, other, other.name, record, Tolerance(fills=record.fills))
    bundle = Bundle.open(path)
    own = bundle.graph(graph)
    if "fp32" not in own.precisions:
        raise BundleError(
            f"bundle {own.bundle}: graph {own.name} has no precision fp32 to compare with; export it again"
        )
    record = golden_record(bundle, own, None)
    other, label = _against(own, against)
    kept = own.precisions[label].tolerance if label in own.precisions else None
    return _Named(own.precisions["fp32"].file, other, label, record, own.precisions["fp32"].tolerance, kept)


def _against(graph: Graph, against: str | None) -> tuple[Path, str]:
    others = [name for name in graph.precisions if name != "fp32"]
    if against is None:
        plain = [n for n in others if graph.precisions[n].target is None]
        if len(plain) != 1:
            raise UsageError(
                f"bundle {graph.bundle} has {len(plain)} precisions beside fp32 to bisect; name one with --against "
                f"({', '.join([*others, 'FILE.onnx'])}), or make one with attn-export convert"
            )
        against = plain[0]
    if against in graph.precisions:
        return graph.precisions[against].file, against
    file = _file(against, others)
    return file, file.name


def _file(against: str, known: list[str]) -> Path:
    file = Path(against)
    if file.suffix != ".onnx" or not is_file(file):
        if file.suffix == ".onnx" and (problem := irregular(file)):
            raise UsageError(f"--against {against}: {problem}; give an .onnx file")
        what = f"; {did_you_mean(against, known)}available: {', '.join(known)}, or an .onnx file" if known else ""
        raise UsageError(f"--against {against}: neither a precision that is there nor an existing .onnx file{what}")
    return file


def _cases(record: ReferenceSet, case: str | None) -> ReferenceSet:
    if case is None:
        return record
    known = [c.name for c in record.cases]
    if case not in known:
        raise UsageError(f"--case {case}: {did_you_mean(case, known)}available: {', '.join(known)}")
    return replace(record, cases=tuple(c for c in record.cases if c.name == case))


def _load(path: Path) -> onnx.ModelProto:
    return onnx.load(path, load_external_data=False)
