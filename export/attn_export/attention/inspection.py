"""What attention a model has, and what became of each block in the engines that were built from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn_runtime.bundle import AttentionBlock, Bundle, Graph, Precision
from attn_runtime.errors import BackendError, EngineError, FusionError, UsageError, did_you_mean
from attn_runtime.escape import shell_words
from attn_runtime.files import is_file
from attn_runtime.trt import (
    ENGINES,
    BlockFusion,
    EngineKey,
    build_command,
    bundle_digest,
    file_digest,
    key_paths,
    read_key,
)

from ..onnx_graph import load
from .blocks import find_blocks


@dataclass(frozen=True)
class InspectedEngine:
    """`key` is None, and `problem` says why, for an engine whose key is damaged. `problem` also tells of an engine that was
    built from another file than the one that is there: what its key says of attention is not about this file."""

    name: str
    key: EngineKey | None
    problem: str = ""

    def fusion_of(self, block: AttentionBlock) -> BlockFusion | None:
        """What became of `block`; None where the key does not tell."""
        if self.key is None or self.problem:
            return None
        return next((fusion for fusion in self.key.attention if fusion.block.nodes == block.nodes), None)

    def unfused(self, blocks: Sequence[AttentionBlock]) -> list[AttentionBlock]:
        """The blocks that are not known to be fused."""
        return [b for b in blocks if not ((fusion := self.fusion_of(b)) and fusion.fused)]

    def to_json(self) -> dict[str, Any]:
        key = self.key
        data: dict[str, Any] = {"name": self.name, "problem": self.problem or None}
        if key is None:
            return data
        return {
            **data,
            "flavour": key.flavour,
            "version": key.version,
            "scratch": key.scratch,
            "attention": [fusion.to_json() for fusion in key.attention],
        }


@dataclass(frozen=True)
class InspectedFile:
    """One ONNX file: `graph` and `precision` are its names in a bundle, None for a plain file; `command` builds its engine.

    `instead` is the precision that a build takes in the place of this one, where there is one made for TensorRT.
    """

    name: str
    graph: str | None
    precision: str | None
    blocks: tuple[AttentionBlock, ...]
    engines: tuple[InspectedEngine, ...]
    command: str
    instead: str | None = None

    @property
    def sound(self) -> tuple[InspectedEngine, ...]:
        """The engines that were built from this very file."""
        return tuple(engine for engine in self.engines if not engine.problem)

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.name,
            "graph": self.graph,
            "precision": self.precision,
            "attention": [block.to_json() for block in self.blocks],
            "engines": [engine.to_json() for engine in self.engines],
            "build": self.command,
            "built_instead": self.instead,
        }


def inspect(path: Path, graph: str | None = None, precision: str | None = None) -> tuple[InspectedFile, ...]:
    """Every file of the bundle, or the plain ONNX file, at `path`, with its attention and its engines.

    `graph` and `precision` leave the others out; with a precision comes the file that was made of it for TensorRT.
    Raises BundleError for what can't be read, UsageError for names that are not there.
    """
    if is_file(path):
        if graph is not None or precision is not None:
            raise UsageError(f"{path.name} is one ONNX file; --graph and --precision choose among those of a bundle")
        return (_plain(path),)
    bundle = Bundle.open(path)
    graphs = [bundle.graph(graph)] if graph is not None else list(bundle.graphs.values())
    engines = [_engine(path) for path in key_paths(bundle.folder / ENGINES)]
    return tuple(
        _of_bundle(bundle, one, name, entry, engines)
        for one in graphs
        for name, entry in _chosen(one, precision).items()
    )


def require_engines(path: Path, files: Sequence[InspectedFile]) -> None:
    """BackendError, with the command that builds one, unless some file has an engine."""
    if any(file.sound for file in files):
        return
    problems = [f"{engine.name} {engine.problem}" for file in files for engine in file.engines]
    state = f"no engine fits ({'; '.join(problems)})" if problems else "no engine has been built"
    raise BackendError(f"{path.name}: {state}. Build one: {files[-1].command}")


def require_fused(path: Path, files: Sequence[InspectedFile]) -> None:
    """FusionError unless every block of every file is fused in every engine that was built from it."""
    failed = [(engine, block) for file in files for engine in file.sound for block in engine.unfused(file.blocks)]
    if failed:
        engine, block = failed[0]
        fusion = engine.fusion_of(block)
        why = f"{fusion.why_not}. To fuse it: {fusion.cure}" if fusion else "the engine's key does not tell of it"
        count = sum(len(f.blocks) for f in files for _ in f.sound)
        raise FusionError(
            f"{path.name}: {len(failed)} of {count} attention blocks are not fused; the first is {block.label} in "
            f"{engine.name}: {why}"
        )


def _chosen(graph: Graph, precision: str | None) -> dict[str, Precision]:
    if precision is None:
        return dict(graph.precisions)
    if precision not in graph.precisions:
        raise UsageError(
            f'--precision "{precision}"; {did_you_mean(precision, graph.precisions)}'
            f"available: {', '.join(graph.precisions)} (graph {graph.name})"
        )
    return dict([(precision, graph.precisions[precision]), graph.precision_for(precision, "tensorrt")])


def _of_bundle(
    bundle: Bundle, graph: Graph, name: str, entry: Precision, engines: Sequence[InspectedEngine]
) -> InspectedFile:
    digest = bundle_digest(bundle, entry)
    own = [
        _judged(engine, digest)
        for engine in engines
        if (engine.key is None and engine.name.startswith(f"{graph.name}.{name}."))
        or (engine.key is not None and (engine.key.graph, engine.key.precision) == (graph.name, name))
    ]
    command = build_command(bundle.path, name, graph.name if len(bundle.graphs) > 1 else None)
    blocks = entry.attention or find_blocks(load(entry.file))
    built = graph.precision_for(name, "tensorrt")[0]
    instead = None if built == name else built
    return InspectedFile(entry.file.name, graph.name, name, blocks, tuple(own), command, instead)


def _plain(path: Path) -> InspectedFile:
    digest = file_digest(path)
    beside = (_engine(key) for key in key_paths(path.parent) if key.name.startswith(f"{path.stem}."))
    engines = [_judged(e, digest) for e in beside if e.key is None or e.key.graph is None]
    # A precision's own file (model.fp16.onnx) has engines that are named after it, and so has model.onnx: by the hash.
    own = [e for e in engines if e.key is None or not e.problem or e.key.file == path.name]
    command = shell_words("attn-export", "to-trt", str(path))
    return InspectedFile(path.name, None, None, find_blocks(load(path)), tuple(own), command)


def _judged(engine: InspectedEngine, digest: str) -> InspectedEngine:
    if engine.key is None or engine.key.model_sha256 == digest:
        return engine
    return InspectedEngine(engine.name, engine.key, "was built from another file than the one that is there")


def _engine(path: Path) -> InspectedEngine:
    """The engine whose key lies at `path`, whatever it was built from."""
    name = path.name.removesuffix(".json")
    try:
        key = read_key(path)
    except EngineError as error:
        return InspectedEngine(name, None, f"can't be judged: {error}")
    return InspectedEngine(name, key, "" if path.with_name(name).is_file() else "is gone, only its key is left")
