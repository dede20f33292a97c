"""A precision, written into a bundle: its files under their names, and what the manifest says of them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx
from attn_runtime.bundle import Bundle, BundleWriter

from .. import manifest_entries
from ..onnx_graph import read_info, share
from ..passes import attention
from .half import TypedGraph


def write_precision(
    bundle: Path,
    opened: Bundle,
    name: str,
    typed_graphs: Mapping[str, Sequence[TypedGraph]],
    prove: Callable[[Bundle], object] | None = None,
) -> list[TypedGraph]:
    """Put what was made for each graph into the bundle as its precision `name`, in one step.

    Nothing changes when `prove` raises, which sees the bundle as it will be.
    """
    made: list[TypedGraph] = []
    manifest: dict[str, Any] = {**opened.manifest, "graphs": dict(opened.manifest["graphs"])}
    if any(typed.type != "fp32" for forms in typed_graphs.values() for typed in forms):
        manifest["versions"] = {**manifest["versions"], "nvidia-modelopt": version("nvidia-modelopt")}
    with BundleWriter(bundle, amends=opened) as writer:
        fp32 = {graph: entry["precisions"]["fp32"] for graph, entry in opened.manifest["graphs"].items()}
        placed = {graph: _place(forms, Path(fp32[graph]["file"]).stem, writer) for graph, forms in typed_graphs.items()}
        kept = [writer.folder / entry["file"] for entry in fp32.values() if entry["data"]]
        if len(placed) > 1 or kept:
            for label, files in _sharing(name, placed).items():
                share(files, writer.path(f"weights.{label}.data"), kept)
        for graph, forms in placed.items():
            written = [(typed, read_info(typed.path).data_files) for typed in forms]
            manifest["graphs"][graph] = _entry(opened.manifest["graphs"][graph], name, written)
            made.extend(forms)
        # Not what the old precision named: most of it may be weights that others name too.
        for file in _named(opened.manifest) - _named(manifest):
            writer.remove(file)
        writer.commit(manifest, prove)
    return made


def _named(manifest: Mapping[str, Any]) -> set[str]:
    """The ONNX files of all precisions, and their data."""
    entries = [entry for graph in manifest["graphs"].values() for entry in graph["precisions"].values()]
    return {file for entry in entries for file in (entry["file"], *entry["data"])}


def _sharing(name: str, placed: Mapping[str, Sequence[TypedGraph]]) -> dict[str, list[Path]]:
    """Which files share a data file, by what it is called.

    A quantised graph for TensorRT has no weight of the one for a CPU, which packs them otherwise and is float32 in the rest:
    whoever deploys one of the two need not carry both.
    """
    found: dict[str, list[Path]] = {}
    for typed in (typed for forms in placed.values() for typed in forms):
        found.setdefault(name if typed.quantised is None else typed.name, []).append(typed.path)
    return found


def _place(forms: Sequence[TypedGraph], stem: str, writer: BundleWriter) -> list[TypedGraph]:
    """Move what was made into the bundle under its names; the data file of the first is shared by the others."""
    written = []
    data: dict[str, str] = {}
    for typed in forms:
        path = writer.path(f"{stem}.{typed.name}.onnx")
        model = onnx.load(typed.path, load_external_data=False)
        for location in read_info(typed.path).data_files:
            if location not in data:
                data[location] = f"{path.name}.data"
                shutil.move(typed.path.parent / location, writer.path(data[location]))
        for tensor in model.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = data[entry.value]
        onnx.save(model, path)
        written.append(replace(typed, path=path))
    return written


def _entry(
    before: Mapping[str, Any], name: str, written: Sequence[tuple[TypedGraph, tuple[str, ...]]]
) -> dict[str, Any]:
    """A graph's part of the manifest with the new precisions in the place of old ones of their names."""
    names = (name, f"{name}-trt")
    precisions = {n: e for n, e in before["precisions"].items() if n not in names}
    stages = [s for s in before["stages"] if s["precision"] not in names]
    for typed, data in written:
        precisions[typed.name] = _precision(typed, data)
        stages.append(stage_entry(typed))
    return {**before, "precisions": precisions, "stages": stages}


def _precision(typed: TypedGraph, data: Sequence[str]) -> dict[str, Any]:
    converted = {"type": typed.type, "half_io": typed.half_io, "kept": [dict(n) for n in typed.fp32_nodes]}
    converted |= {"target": typed.target} if typed.target else {}
    converted |= {"quantised": dict(typed.quantised)} if typed.quantised is not None else {}
    return manifest_entries.precision_entry(typed.path.name, data, typed.tolerance, typed.blocks, converted)


def stage_entry(typed: TypedGraph) -> dict[str, Any]:
    """The conversion as one of the manifest's stages."""
    return manifest_entries.stage_entry(
        typed.name if typed.target is None or typed.quantised is not None else attention.PASS.name,
        typed.name,
        typed.nodes_before,
        typed.nodes_after,
        typed.note,
        (*typed.checks, *typed.further.declared),
    )
