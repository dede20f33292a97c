"""A bundle with one of another's precisions: its graphs, weights, golden cases and assets, and nothing that they do not need."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn_runtime.bundle import Bundle, BundleWriter, Graph
from attn_runtime.errors import OutputError, UsageError, did_you_mean
from attn_runtime.escape import shell_words
from attn_runtime.files import resolved

from ..onnx_graph import read_info, share
from ..precision import schemes

WEIGHTS = "weights.data"


@dataclass(frozen=True)
class DeployedBundle:
    """precisions  what it has: the one that was asked for, and with `tensorrt` the form of it for that
    size        bytes of its files, and `size_before` of those of the bundle that it was made of, engines aside
    left_out    precisions of that bundle which it has not
    """

    path: Path
    precisions: tuple[str, ...]
    left_out: tuple[str, ...]
    files: int
    size: int
    size_before: int

    def to_json(self) -> dict[str, Any]:
        return {
            "output": str(self.path),
            "precisions": list(self.precisions),
            "left_out": list(self.left_out),
            "files": self.files,
            "bytes": self.size,
            "bytes_before": self.size_before,
        }


def deploy_bundle(
    bundle: Path, output: Path, *, only: str, tensorrt: bool = False, force: bool = False
) -> DeployedBundle:
    """Write NAME.attn at `output` with the precision `only` of `bundle` alone, whole or not at all.

    It opens in that precision where none is named, and has the golden cases, the generated ones and the assets: what was
    proven of the precision can be proven of it again. `tensorrt` takes along the form that engines are built of, NAME-trt.
    Weights that were shared with other precisions are written once, into one file. Engines stay behind: they are made of
    the files of the old bundle, and are built anew.

    Raises UsageError for a precision that the bundle lacks, or that is the form of another for TensorRT; BundleError for
    a damaged bundle; OutputError where `output` is `bundle`, is something else than a bundle (unless `force`), or can't
    be written.
    """
    opened = Bundle.open(bundle)
    kept = {graph.name: _kept(opened, graph, only, tensorrt) for graph in opened.graphs.values()}
    precisions = tuple(dict.fromkeys(name for names in kept.values() for name in names))
    if tensorrt and precisions == (only,):
        raise UsageError(
            f"--tensorrt: {only} of bundle {bundle.name} has no form of its own for TensorRT, which takes the same file; "
            "leave it out"
        )
    if _is_same(bundle, output):
        raise OutputError(
            f"output {output}: is the bundle itself, whose other precisions would be lost; choose another"
        )
    manifest = _manifest(opened.manifest, kept)
    with BundleWriter(output, force) as writer:
        opened.files.read(list(opened.manifest["files"]), lambda: _copy(opened, manifest, writer))
        made = writer.commit(manifest)
    sizes = [entry["size"] for entry in made.manifest["files"].values()]
    before = sum(entry["size"] for entry in opened.manifest["files"].values())
    every = dict.fromkeys(name for graph in opened.graphs.values() for name in graph.precisions)
    left_out = tuple(name for name in every if name not in precisions)
    return DeployedBundle(output, precisions, left_out, len(sizes), sum(sizes), before)


def _kept(bundle: Bundle, graph: Graph, only: str, tensorrt: bool) -> tuple[str, ...]:
    """The precisions of `graph` to keep. UsageError where `only` can't stand alone."""
    where = bundle.label(graph)
    if only not in graph.precisions:
        made = ""
        if only in schemes.names() and "fp32" in graph.precisions:
            made = f"; {shell_words('attn-export', 'convert', str(bundle.path), *schemes.option(only).split())} adds it"
        raise UsageError(
            f'{where}: no precision "{only}"; {did_you_mean(only, graph.precisions)}available: '
            f"{', '.join(graph.precisions)}{made}"
        )
    if graph.precisions[only].target is not None:
        raise UsageError(
            f"{where}: {only} is the form for {graph.precisions[only].target} of another precision, which the golden cases "
            f"are held to; take --only {only.removesuffix('-trt')} --tensorrt"
        )
    return tuple(dict.fromkeys((only, graph.precision_for(only, "tensorrt")[0] if tensorrt else only)))


def _is_same(bundle: Path, output: Path) -> bool:
    try:
        return output.exists() and resolved(output).samefile(bundle)
    except (OSError, ValueError):  # what the writer refuses, in its words
        return False


def _manifest(before: Mapping[str, Any], kept: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """What is left of the manifest. The stages of fp32 stay: the precision was made of what they proved."""
    graphs = {}
    for name, graph in before["graphs"].items():
        precisions = {precision: dict(graph["precisions"][precision]) for precision in kept[name]}
        stages = [stage for stage in graph["stages"] if stage["precision"] in ("fp32", *kept[name])]
        graphs[name] = {**graph, "precisions": precisions, "stages": stages}
    return {**{key: value for key, value in before.items() if key != "files"}, "graphs": graphs}


def _copy(opened: Bundle, manifest: dict[str, Any], writer: BundleWriter) -> None:
    """Every file that `manifest` names, and the weights of its graphs in one file, whose name the entries get."""
    entries = [entry for graph in manifest["graphs"].values() for entry in graph["precisions"].values()]
    every = [entry for graph in opened.manifest["graphs"].values() for entry in graph["precisions"].values()]
    models = {file for entry in every for file in (entry["file"], *entry["data"])}
    for relative in opened.manifest["files"]:
        if relative not in models:
            shutil.copyfile(opened.file(relative), writer.path(relative))
    for entry in entries:
        shutil.copyfile(opened.file(entry["file"]), writer.path(entry["file"]))
    # The names of the weights are by folder, for a graph names them from its own.
    folders: dict[Path, list[dict[str, Any]]] = {}
    for entry in entries:
        if entry["data"]:
            folders.setdefault(Path(entry["file"]).parent, []).append(entry)
    for folder, those in folders.items():
        paths = list(dict.fromkeys(writer.folder / entry["file"] for entry in those))
        data = writer.path((folder / WEIGHTS).as_posix())
        share(paths, data, source=opened.folder / folder)
        for entry in those:
            entry["data"] = [(folder / name).as_posix() for name in read_info(writer.folder / entry["file"]).data_files]
