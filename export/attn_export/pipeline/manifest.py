"""An export, told in the words of the bundle's manifest and of an ONNX file's metadata."""

from __future__ import annotations

import json
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

import attn_runtime
import torch
from attn_runtime.bundle import Arrays, GoldenRef

from ..manifest_entries import precision_entry, stage_entry
from .types import Export, GraphExport, Stage

_PACKAGES = ("onnxscript", "onnx-ir", "numpy")


def versions(child: dict[str, Any]) -> dict[str, str]:
    """What made the bundle; `child` has the versions that the isolated stages ran with."""
    # Of both packages by the code that runs: an editable installation tells the version it was made at.
    ours = dict.fromkeys(("attn-export", "attn-runtime"), attn_runtime.__version__)
    others = {name: version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "torch": torch.__version__, **child, **ours, **others}


def golden_reference(work: GraphExport, golden: GoldenRef[Arrays]) -> dict[str, Any]:
    return {
        "case": golden.name,
        "sizes": golden.sizes,
        "checked_sizes": golden.checked_sizes,
        "seed": golden.seed,
        "inputs": work.golden_file(golden.name, "inputs"),
        "outputs": work.golden_file(golden.name, "outputs"),
        **({"types": list(golden.types)} if golden.types else {}),
    }


def graph_entry(work: GraphExport) -> dict[str, Any]:
    return {
        "inputs": [s.to_json() for s in work.inputs],
        "outputs": [s.to_json() for s in work.outputs],
        "opset": work.opset,
        "exporter": work.exporter,
        "precisions": {"fp32": precision_entry(work.file, work.data, work.tolerance, work.attention)},
        "cures": work.cures,
        "stages": [_stage(s) for s in work.stages],
        "consistency": [c.to_json() for c in work.stages[-1].verdict.consistency],
        "golden": [golden_reference(work, g) for g in work.golden],
        **({"sweep": work.checker.sweep.to_json(work.stages[-1].verdict.worst_swept)} if work.checker.sweep else {}),
        **({"power": work.power.to_json()} if work.power else {}),
    }


def _stage(stage: Stage) -> dict[str, Any]:
    checks = stage.verdict.checks
    return stage_entry(stage.name, "fp32", stage.nodes_before, stage.nodes_after, stage.note, checks, stage.changed)


def summary(done: Export, target: Path) -> dict[str, Any]:
    """The result for scripts: what was written, and the manifest's account of how it was checked."""
    entries = {name: graph_entry(g) for name, g in done.graphs.items()}
    return {
        "output": str(target),
        "name": done.source.name,
        "worst_relative_error": done.worst_error,
        "notes": done.source.notes,
        **(next(iter(entries.values())) if len(entries) == 1 else {"graphs": entries}),
    }


def bundle(name: str, done: Export, found: dict[str, str]) -> dict[str, Any]:
    """The manifest without `files`, which the writer fills in."""
    return {
        "schema_version": 1,
        "name": name,
        "task": done.source.task,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "source": done.source.provenance,
        "versions": found,
        "graphs": {name: graph_entry(work) for name, work in done.graphs.items()},
        **({"generation": [case.to_json() for case in done.written]} if done.written else {}),
        "assets": {PurePosixPath(name).stem: f"assets/{name}" for name in done.source.assets},
    }


def metadata(done: Export, found: dict[str, str]) -> dict[str, str]:
    """The metadata of a plain .onnx: what a session needs to check inputs, and how the graph was checked."""
    entry = graph_entry(done.graph)
    return {
        "attn_export.graph": json.dumps(
            {
                "inputs": entry["inputs"],
                "outputs": entry["outputs"],
                "assets": {PurePosixPath(n).stem: v for n, v in done.source.assets.items()},
            }
        ),
        "attn_export.checked": json.dumps(
            {k: entry[k] for k in ("stages", "consistency", "cures", "exporter", "sweep") if k in entry}
            | {"tolerance": done.graph.tolerance.to_json()}
        ),
        "attn_export.source": json.dumps(done.source.provenance, default=str),
        "attn_export.versions": json.dumps(found),
    }
