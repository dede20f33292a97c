"""What is compiled: one ONNX file, of a bundle or alone, with what is known of its inputs, types and golden cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...bundle import MANIFEST, AttentionBlock, Bundle, read_embedded
from ...errors import BundleError, UsageError, did_you_mean
from ...escape import shell_words
from ...files import is_file
from ...onnx_file import OnnxGraph, read_graph
from ...spec import TensorSpec
from .. import GraphInput, bundle_digest, file_digest, input_of, input_of_file

TYPES = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class BuildInput:
    """path       as the caller named it: the bundle, or the ONNX file
    name       of the model, for people
    where      opens messages
    graph      of a bundle; None for a plain file
    precision  which of the bundle's is compiled, and what was asked for (another where a file is made for TensorRT)
    type       of its arithmetic
    strict     whether that type was promised, by the bundle or the caller, and so must be kept
    kept       nodes that stay in float32 on purpose
    blocks     its attention blocks; None where nothing tells of them
    cases      (name, dim sizes) of the golden cases
    specs      the inputs of a bundle
    """

    path: Path
    name: str
    where: str
    file: Path
    digest: str
    onnx: OnnxGraph
    graph: str | None
    precision: str
    asked: str
    type: str
    strict: bool
    kept: tuple[str, ...]
    blocks: tuple[AttentionBlock, ...] | None
    inputs: tuple[GraphInput, ...]
    specs: tuple[TensorSpec, ...] = ()
    cases: tuple[tuple[str, Mapping[str, int]], ...] = ()
    several_graphs: bool = False


def find_source(path: Path, graph: str | None, precision: str | None, exact: bool = False) -> BuildInput:
    """Open the bundle or ONNX file at `path`. `exact` takes the file of that very precision.

    Raises BundleError where it is missing, damaged or hostile, UsageError for an unknown graph or precision.
    """
    if is_file(path):
        return _plain(path, graph, precision)
    return _of_bundle(Bundle.open(path), graph, precision, exact)


def _of_bundle(bundle: Bundle, graph: str | None, precision: str | None, exact: bool) -> BuildInput:
    found = bundle.graph(graph)
    where = bundle.label(found)
    asked = precision or found.default_precision
    if asked not in found.precisions:
        made = (
            f"; {shell_words('attn-export', 'to-trt', str(bundle.path), f'--{asked}')} makes it"
            if asked in TYPES
            else ""
        )
        raise UsageError(
            f'{where}: unknown precision "{asked}"; {did_you_mean(asked, found.precisions)}'
            f"available: {', '.join(found.precisions)}{made}"
        )
    name, entry = (asked, found.precisions[asked]) if exact else found.precision_for(asked, "tensorrt")
    specs, _ = found.borders(name)
    return BuildInput(
        bundle.path,
        bundle.name,
        where,
        entry.file,
        bundle_digest(bundle, entry),
        read_graph(entry.file, where),
        found.name,
        name,
        asked,
        entry.type,
        True,
        tuple(node["node"] for node in entry.kept),
        entry.attention,
        tuple(map(input_of, specs)),
        specs,
        tuple((ref.name, ref.sizes) for ref in found.golden),
        len(bundle.graphs) > 1,
    )


def _plain(path: Path, graph: str | None, precision: str | None) -> BuildInput:
    where = f"file {path.name}"
    if path.name == MANIFEST:
        raise BundleError(f"{path}: a bundle is compiled by its folder; take {path.parent}")
    if graph:
        raise UsageError(f"{path.name} is one ONNX file: it has no graph to choose from")
    if precision is not None and precision not in TYPES:
        raise UsageError(
            f'unknown precision "{precision}"; {did_you_mean(precision, TYPES)}available: {", ".join(TYPES)}'
        )
    digest = file_digest(path)
    onnx = read_graph(path, where)
    kind = precision or _type_of(onnx)
    inputs = []
    for name in onnx.inputs:
        value = onnx.values[name]
        inputs.append(input_of_file(name, value.dtype, value.dims))
    specs = read_embedded(onnx.embedded, f"{where}: {path.name}").inputs if onnx.embedded else ()
    if specs and [spec.name for spec in specs] == list(onnx.inputs):
        inputs = list(map(input_of, specs))
    strict = precision is not None
    return BuildInput(
        path, path.stem, where, path, digest, onnx, None, kind, kind, kind, strict, (), None, tuple(inputs)
    )


def _type_of(onnx: OnnxGraph) -> str:
    """By its weights: a graph with half-precision weights is one of half precision."""
    found = {onnx.values[name].dtype for name in onnx.weights}
    return "fp16" if "float16" in found else "bf16" if "bfloat16" in found else "fp32"
