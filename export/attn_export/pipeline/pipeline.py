"""The one place that knows the order: ask PyTorch, capture, check, then pass by pass with a check after each, write."""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Arrays, BundleWriter, Case, OnnxWriter, check_target, form_problem
from attn_runtime.child_process import ChildProcess
from attn_runtime.compare import Tolerance
from attn_runtime.errors import UsageError, did_you_mean

from ..capture import EXPORTERS, check_opset
from ..console import Console
from ..onnx_graph import onnx_file, share
from ..parity import prove, write_cases
from ..passes import Pass
from ..passes import get as get_pass
from ..reference import preserved, refuse_shared_state, run_module
from ..source import Source
from . import manifest
from .golden_choice import add_by_power
from .graph_export import add_form, export_graph, finish, record_reference
from .types import Export, ExportOptions, GraphExport, check_mutate

#: The passes of every export, in order. Joining it is a deliberate line.
DEFAULT_PASSES = ("simplify", "rms_norm", "heads", "rotary")
#: The data file of a bundle with several graphs.
WEIGHTS = "weights.data"
#: The folder in a bundle in the making where several graphs lie until their weights are in one file and are proven.
FORMS = "forms"
_WARM_UP = "attn_export.passes._onnxsim:warm_up_here"


def plan(options: ExportOptions) -> list[Pass]:
    """The passes to run, in order. UsageError for names that are unknown, or skipped without being there."""
    if options.exporter not in EXPORTERS:
        raise UsageError(
            f"--exporter {options.exporter}: {did_you_mean(options.exporter, EXPORTERS)}available: {', '.join(EXPORTERS)}"
        )
    wanted = [get_pass(name).name for name in (*DEFAULT_PASSES, *options.passes)]
    for name in options.skip:
        get_pass(name)
        if name not in wanted:
            raise UsageError(f"--skip-pass {name}: it would not run anyway; the passes are: {', '.join(wanted)}")
    return [get_pass(name) for name in dict.fromkeys(wanted) if name not in options.skip]


def check_options(options: ExportOptions) -> None:
    """UsageError for what no source could be exported with."""
    plan(options)
    check_opset(options.opset, options.exporter)


def export_source(source: Source, target: Path, options: ExportOptions, console: Console, own: bool = False) -> Export:
    """Export `source` to `target`, NAME.attn (a bundle) or NAME.onnx (a plain graph with its metadata).

    `own`: nobody else holds the source's module, and its weights may be mapped from what is written.

    Of `options`, those of the source itself (config, example, inputs_from, assets, graph) have been applied by who loaded
    it. Raises the errors of `attn_runtime.errors`; nothing is written, and what was there stays, unless all checks pass.
    """
    passes = plan(options)
    opset = check_opset(options.opset, options.exporter)
    check_target(target, options.force)
    check_mutate(target, options)
    _check_several(source, target, options)
    _check_names(source, target, options)
    tolerance = Tolerance(
        source.tolerance.atol if options.atol is None else options.atol,
        source.tolerance.rtol if options.rtol is None else options.rtol,
    )
    if not (math.isfinite(tolerance.atol) and 0 <= tolerance.rtol < 1):
        raise UsageError(
            f"--atol {tolerance.atol:g} --rtol {tolerance.rtol:g}: expected finite limits, and rtol under 1"
        )
    done = Export(source)
    advice = "raise --stage-timeout, or leave the stage out with --skip-pass"
    views = [part.module for part in source.graphs]
    with (
        preserved(source.module, *views) as before,
        ChildProcess(options.stage_seconds, advice=advice) as isolated,
        tempfile.TemporaryDirectory(prefix="attn-sweep-") as folder,
    ):
        isolated.start(_WARM_UP)  # imports ONNX Runtime and onnxsim while PyTorch answers and traces
        for part in source.graphs:
            swept = Path(folder, part.name)
            swept.mkdir()
            done.graphs[part.name] = record_reference(source, part, tolerance, opset, options, isolated, console, swept)
        refuse_shared_state(before, [_asked(work) for work in done.graphs.values()], tolerance)
        writer = BundleWriter(target, options.force) if target.suffix == ".attn" else OnnxWriter(target, options.force)
        with writer:
            several = isinstance(writer, BundleWriter) and len(done.graphs) > 1
            for work in done.graphs.values():
                if isinstance(writer, BundleWriter):
                    place = writer.path(f"{FORMS}/{work.file}" if several else work.file)
                else:
                    place = writer.path()
                # Of several, what is written here is deleted once their weights are in one file.
                export_graph(work, place, passes, options, isolated, console, own and not several)
                if not several:
                    finish(work)
                    _keep_last(work, place)
            if source.generation is not None:  # after the captures: what none takes is told without these answers
                fills = [ends for work in done.graphs.values() for ends in work.tolerance.fills.get("logits", ())]
                of_logits = replace(tolerance, fills={"logits": tuple(fills)})
                done.written = write_cases(source, of_logits, options.seed, console)
            if several:
                assert isinstance(writer, BundleWriter)
                _share_weights(done, writer, console)
            if options.mutate and isinstance(writer, BundleWriter):
                add_by_power(
                    done, {name: writer.path(work.file) for name, work in done.graphs.items()}, options, console
                )
            with console.stage("write") as line:
                size = _write(done, writer, isolated, console)
                line.done(f"{target}: {size / 1e6:.1f} MB")
    return done


def _asked(work: GraphExport) -> tuple[str, Case[Arrays], Callable[[Case[Arrays]], Case[Arrays]]]:
    return work.name, work.checker.answers[0], lambda case: run_module(work.signature, case, case.inputs)


def _check_several(source: Source, target: Path, options: ExportOptions) -> None:
    """UsageError for what makes sense for one graph alone."""
    if len(source.graphs) == 1:
        return
    names = ", ".join(g.name for g in source.graphs)
    if target.suffix == ".onnx":
        raise UsageError(
            f"{source.name} has {len(source.graphs)} graphs ({names}), and {target.name} holds one; "
            f"write {target.stem}.attn, or take one of them with --graph NAME"
        )
    if options.output_names:
        raise UsageError(
            f"--output-names: {source.name} has {len(source.graphs)} graphs ({names}), each with outputs of its own; "
            "leave it out, or take one of them with --graph NAME"
        )


def _check_names(source: Source, target: Path, options: ExportOptions) -> None:
    """UsageError for a name or a size that no bundle and no metadata can hold: else the writer refused it, after all the work."""
    asked: list[tuple[str, Any, str]] = [
        ("text", target.stem, f"output {target}"),
        ("source", source.provenance, "SOURCE"),
    ]
    asked += [("text", name, "--output-names") for name in options.output_names]
    for part in source.graphs:
        asked.append(("identifier", part.name, f"{source.name}: name of a graph"))
        asked += [("tensors", [s.to_json() for s in part.inputs], f"{part.name}: inputs")]
        asked += [("text", s.name, f"{part.name}: name of an output") for s in part.outputs]
    for problem in (form_problem(*one) for one in asked):
        if problem:
            sized = problem.partition(": got ")[0].endswith((".min", ".opt", ".max"))
            raise UsageError(f"{problem}; {'narrow the range with --dim' if sized else 'choose another name'}")


def _keep_last(work: GraphExport, place: Path) -> None:
    """Leave the last form at `place`, and no other."""
    last = work.forms[-1].path
    for left in place.parent.glob(f"{place.stem}.*.onnx"):
        if left != last:
            left.unlink()
    if last != place:
        last.replace(place)
    work.data = onnx_file.read_info(place).data_files


def _share_weights(done: Export, writer: BundleWriter, console: Console) -> None:
    """Put the weights of all graphs in one file, each once, and hold what is published against PyTorch."""
    paths = {name: writer.path(work.file) for name, work in done.graphs.items()}
    forms = writer.folder / FORMS
    with console.stage("weights") as line:
        for name, work in done.graphs.items():
            shutil.copyfile(work.forms[-1].path, paths[name])
        shared = share(list(paths.values()), writer.path(WEIGHTS), source=forms)
        line.done(f"{shared.together / 1e6:.1f} MB in {len(paths)} graphs, {shared.once / 1e6:.1f} MB in {WEIGHTS}")
    for name, work in done.graphs.items():
        work.data = onnx_file.read_info(paths[name]).data_files
        add_form(work, "shared weights", paths[name], console)  # no stage of its own: the last one's files
        finish(work)
    shutil.rmtree(forms)


def _write(done: Export, writer: BundleWriter | OnnxWriter, isolated: ChildProcess, console: Console) -> int:
    """Add metadata and golden cases to the graphs in place, and publish; returns the bytes written."""
    versions = manifest.versions(isolated.run(_WARM_UP, "versions"))
    if isinstance(writer, OnnxWriter):
        path = writer.path()
        onnx_file.annotate(path, manifest.metadata(done, versions))
        size = sum(f.stat().st_size for f in path.parent.iterdir())
        writer.commit()
        return size
    for work in done.graphs.values():
        for golden in work.golden:
            reference = manifest.golden_reference(work, golden)
            writer.add_tensors(reference["inputs"], golden.inputs)
            writer.add_tensors(reference["outputs"], golden.outputs)
    for name, value in done.source.assets.items():
        writer.add_json(f"assets/{name}", value, compact=name == "tokenizer.json")
    for case in done.written:
        case.store(writer)
    bundle = writer.commit(
        manifest.bundle(writer.target.stem, done, versions),
        (lambda staged: prove(staged.path, isolated, console)) if done.written else None,
    )
    return sum(f["size"] for f in bundle.manifest["files"].values())
