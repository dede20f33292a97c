"""Engines for every graph of a bundle, one build after the other; one that fails does not keep the others from being tried."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bundle import Bundle, is_bundle
from ..errors import AttnError, StageError, UsageError
from ..trt import ShapeTexts
from ..trt.builder import Compiled, CompilerFailure, compile_engine

#: What is said of one graph, whose inputs and engine are its own: argument of `compile_engines` -> how the command line calls it.
_OF_ONE_GRAPH = {
    "min_shapes": "--minShapes",
    "opt_shapes": "--optShapes",
    "max_shapes": "--maxShapes",
    "save_engine": "--saveEngine",
}


@dataclass(frozen=True)
class GraphBuild:
    """What became of one graph: `done`, or the `error`. `graph` is None where there is one alone."""

    graph: str | None
    done: Compiled | None = None
    error: AttnError | None = None

    def to_json(self) -> dict[str, Any]:
        if self.done is not None:
            return {"graph": self.graph, **self.done.to_json()}
        return {"graph": self.graph, "error": str(self.error), "exit_code": self.error.exit_code if self.error else 0}


@dataclass(frozen=True)
class CompileReport:
    """Every build that was tried, in the order of the bundle's graphs."""

    builds: tuple[GraphBuild, ...]

    def require(self) -> None:
        """Raises the error of the first build that failed, where one did."""
        for build in self.builds:
            if build.error is not None:
                raise build.error

    def to_json(self) -> Any:
        """One engine's account, or a list with one of each graph."""
        (first, *others) = self.builds
        if not others and first.done is not None:
            return first.done.to_json()
        return [build.to_json() for build in self.builds]


def compile_engines(
    path: str | os.PathLike[str],
    *,
    graph: str | None = None,
    min_shapes: tuple[str, ...] = (),
    opt_shapes: tuple[str, ...] = (),
    max_shapes: tuple[str, ...] = (),
    save_engine: str | os.PathLike[str] | None = None,
    prepare: Callable[[str | None], tuple[Path, Mapping[str, Any]]] | None = None,
    other_form: Callable[[str | None, Callable[..., Compiled]], Compiled | None] | None = None,
    on_build: Callable[[GraphBuild], object] | None = None,
    **options: Any,
) -> CompileReport:
    """Build an engine of `graph`, or of every graph of the bundle at `path`; a plain ONNX file has one.

    min_shapes, ...  trtexec's texts, as in "x:1x3x32x32,y:2x3"; several make several profiles
    save_engine      NAME.engine; None takes BUNDLE/engines/, or beside the plain file
    prepare          called with each graph before its build; gives the file to build from, and arguments of
                     `compile_engine` that go before these
    other_form       called with a graph whose build died in the compiler, and what builds a file (with arguments of
                     `compile_engine`); None where there is no form that builds
    on_build         called after each build
    options          the other arguments of `attn_runtime.trt.builder.compile.compile_engine`

    Of several graphs, every one is tried: `CompileReport.require` raises what the first that failed raised. Of one, the
    error is raised here. UsageError for shapes or a file name where there are several graphs.
    """
    graphs = _graphs(path, graph, {"min_shapes": min_shapes, "opt_shapes": opt_shapes, "max_shapes": max_shapes,
                                   "save_engine": save_engine})  # fmt: skip
    options |= {"profiles": ShapeTexts(min_shapes, opt_shapes, max_shapes), "save_engine": save_engine}

    def build(name: str | None) -> Compiled:
        file, own = prepare(name) if prepare is not None else (path, {})

        def compiled(file: str | os.PathLike[str], **own: Any) -> Compiled:
            return compile_engine(file, **{**options, "graph": name, **own})

        try:
            return compiled(file, **own)
        except (CompilerFailure, StageError):
            if other_form is None or (done := other_form(name, compiled)) is None:
                raise
            return done

    builds = []
    several = len(graphs) > 1
    for name in graphs:
        try:
            one = GraphBuild(name if several else None, build(name))
        except AttnError as error:
            if not several:
                raise
            one = GraphBuild(name, error=error)
        builds.append(one)
        if on_build is not None:
            on_build(one)
    return CompileReport(tuple(builds))


def _graphs(path: str | os.PathLike[str], named: str | None, own: Mapping[str, object]) -> list[str | None]:
    """The graphs to build: the one that is named, or all of a bundle. UsageError for options that fit one graph alone."""
    if named is not None or not is_bundle(Path(path)):
        return [named]
    graphs = list(Bundle.open(path, check_hashes=False).graphs)  # each build checks the hashes
    if len(graphs) == 1:
        return [None]
    for key, option in _OF_ONE_GRAPH.items():
        if own.get(key):
            raise UsageError(
                f"{option}: the bundle has the graphs {', '.join(graphs)}, with inputs and an engine each; name one with --graph"
            )
    return list(graphs)
