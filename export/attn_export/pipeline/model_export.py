"""`attn_export.export`: all that `attn-export to-onnx` does, in its order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attn_runtime.bundle import check_target
from attn_runtime.errors import UsageError
from attn_runtime.escape import shell_words

from ..console import Console
from ..precision import schemes
from .types import Export, ExportOptions, check_mutate

if TYPE_CHECKING:
    from torch import nn

    from ..precision import TypedGraph
    from ..source import Source

# torch is imported once the options make sense: that takes seconds.

#: The pass that a conversion runs, and an export does not: --skip-pass leaves it out there.
_ATTENTION = "attention"
#: What is said of a source before it is loaded.
_OF_LOADING = (
    "config",
    "checkpoint_key",
    "example",
    "inputs_from",
    "assets",
    "graph",
    "graphs",
    "task",
    "revision",
    "download",
    "extend",
)


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote, and how it was checked.

    path         the bundle, or the plain .onnx
    export       every graph with its inputs, outputs, passes and checks
    precisions   the further graphs of a `precision`, their files inside the bundle; None where none was requested
    fixed        "batch=1" of each dim that was to vary and that a model of a library takes in one size alone
    """

    path: Path
    export: Export
    precisions: tuple[TypedGraph, ...] | None = None
    fixed: tuple[str, ...] = ()

    @property
    def worst_error(self) -> float:
        """The worst error of what was written in fp32, a share of max|reference|."""
        return self.export.worst_error

    @property
    def notes(self) -> list[str]:
        """What the user should know of the source: random weights, gates that are 0."""
        return self.export.source.notes

    @property
    def files(self) -> tuple[Path, ...]:
        """The ONNX files: those of each graph, then those of the precision."""
        if self.path.suffix != ".attn":
            return (self.path,)
        graphs = [self.path / graph.file for graph in self.export.graphs.values()]
        return (*graphs, *(typed.path for typed in self.precisions or ()))

    def to_json(self) -> dict[str, Any]:
        """What `attn-export to-onnx --json` prints."""
        from .manifest import summary

        converted = {} if self.precisions is None else {"precisions": [typed.to_json() for typed in self.precisions]}
        return summary(self.export, self.path) | converted


def export(
    source: str | nn.Module | Source,
    target: str | os.PathLike[str],
    *,
    inputs: Sequence[str] = (),
    dims: Sequence[str] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    precision: str | None = None,
    with_attention: str | None = None,
    options: ExportOptions = ExportOptions(),  # noqa: B008  it is frozen
    console: Console | None = None,
) -> ExportResult:
    """Export `source` to `target`, every form of the graph held against PyTorch before it is written.

    source          a built-in model's name, "package.module:callable", a .pt2 file, a folder that save_pretrained has made
                    or "hf:ORG/NAME", an nn.Module (its modes are put back, its weights stay, but for a `checkpoint`), or
                    what `load_source` returned
    target          NAME.attn, a bundle, or NAME.onnx, a plain graph
    inputs, dims    as on the command line: "image:float32[batch,3,32,32]", "batch=1:8:32". A model that is built in knows
                    its own; `dims` then gives other ranges
    checkpoint      weights: safetensors, a torch file, an index of parts, or a folder with one of them
    precision       also written into the bundle, and held against the same answers: a scheme's name, as in "fp16"
    with_attention  a regular expression or glob of modules whose attention weights become outputs too; ".*" takes all
    console         what tells of each stage; None is silent

    Raises UsageError for what makes no sense, CheckpointError, CaptureError, ParityError where answers differ from
    PyTorch's, StageError, PassError, OutputError, BackendError without what `precision` needs. Nothing is written then,
    and what was at `target` stays; where the precision alone fails, the bundle in fp32 has been written.
    """
    target, console = Path(target), console or Console(quiet=True)
    _check_target(target, precision, options)
    exported = replace(options, skip=[name for name in options.skip if precision is None or name != _ATTENTION])
    with _modes_put_back(source):
        with console.stage("load") as line:
            from ..source import half_precision_named
            from .pipeline import check_options

            check_options(exported)
            _check_precision(precision, options)
            loaded = _loaded(source, inputs, dims, checkpoint, options)
            weights = f", {checkpoint}" if checkpoint else ""
            line.done(f"{loaded.name}, {loaded.parameters / 1e6:.2f} M parameters{weights}")
        for note in loaded.notes:
            console.note(note)
        if with_attention is not None:
            loaded = _with_attention(loaded, with_attention, options.seed, console)
        # The bundle that gets the precision must still be this one then.
        alone = nullcontext() if precision is None else console.changing(target)
        with alone:
            with half_precision_named(loaded):
                again = (
                    None if with_attention else partial(_loaded, source, inputs, checkpoint=checkpoint, options=options)
                )
                done, fixed = _export(loaded, again, dims, target, exported, console, isinstance(source, str))
            further = None if precision is None else _add_precision(target, precision, options, console, done)
            return ExportResult(target, done, further, fixed)


def _check_target(target: Path, precision: str | None, options: ExportOptions) -> None:
    """What can be refused before torch is imported. UsageError, or OutputError for what must not be replaced."""
    if precision is None and options.half_io:
        raise schemes.none_named("--half-io")
    if precision is None and options.quantise.given:
        raise schemes.none_named(options.quantise.given[0])
    if precision is not None and target.suffix != ".attn":
        flag = schemes.option(precision)
        output = f"{target.stem}.{precision}.onnx"
        raise UsageError(
            f"{flag} adds to a bundle, and {target.name} is none; write NAME.attn, or convert the file after "
            f"the export: {shell_words('attn-export', 'convert', str(target), *flag.split(), '-o', output)}"
        )
    check_mutate(target, options)
    check_target(target, options.force)


def _check_precision(precision: str | None, options: ExportOptions) -> None:
    """UsageError or BackendError before the export, for what would fail after it."""
    if precision is not None:
        from ..precision import check_options

        check_options(precision, options.half_io, (), options.quantise)


def _loaded(
    source: str | nn.Module | Source,
    inputs: Sequence[str],
    dims: Sequence[str],
    checkpoint: str | os.PathLike[str] | None,
    options: ExportOptions,
) -> Source:
    from ..source import Source, load_source

    if isinstance(source, Source):
        said = {"inputs": inputs, "dims": dims, "checkpoint": checkpoint}
        said |= {f"options.{name}": getattr(options, name) for name in _OF_LOADING}
        if names := [name for name, value in said.items() if value]:
            raise UsageError(f"{names[0]}: {source.name} is loaded already; give it to load_source instead")
        return source
    return load_source(
        source,
        inputs=inputs,
        dims=dims,
        example=options.example,
        inputs_from=options.inputs_from,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        checkpoint_key=options.checkpoint_key,
        config=options.config,
        seed=options.seed,
        graph=options.graph,
        asset_folder=None if options.assets is None else Path(options.assets),
        task=options.task,
        revision=options.revision,
        download=options.download,
        graphs=options.graphs,
        extend=options.extend,
    )


def _export(
    loaded: Source,
    again: Callable[..., Source] | None,
    dims: Sequence[str],
    target: Path,
    options: ExportOptions,
    console: Console,
    own: bool,
) -> tuple[Export, tuple[str, ...]]:
    """`export_source`, and what it was done with besides `dims`: of a library's model, dims that are not the user's and that it
    takes in one size alone are fixed.

    again   loads the model with other `dims`; None where that can't be done
    own     as `export_source` has it
    """
    from ..capture import RulesRefused
    from ..source import DERIVED
    from .pipeline import export_source

    given = list(dims)
    while True:
        try:
            return export_source(loaded, target, options, console, own), tuple(given[len(dims) :])
        except RulesRefused as refused:
            known = {dim.partition("=")[0] for dim in given}
            new = {name: size for name, size in refused.fixed.items() if name not in known}
            if again is None or not new or loaded.generation or loaded.provenance["kind"] not in DERIVED:
                raise
            given += [f"{name}={_size(name, size)}" for name, size in new.items()]
            why = "; ".join(part for part in str(refused).split("; ") if part.startswith("dim "))
            console.note(f"{why}: the graph is made with --dim {' --dim '.join(given)}, and takes no other sizes")
            loaded = again(dims=given)


def _size(name: str, size: int) -> int:
    """The size to fix a dim to that torch.export has fixed to the example's: one row at a time suits most."""
    return 1 if name in ("batch", "images") else size


def _with_attention(source: Source, pattern: str, seed: int, console: Console) -> Source:
    from ..attention_outputs import add_attention

    with console.stage("attention") as line:
        watched, added = add_attention(source, pattern, seed)
        line.done(added.line)
    for note in added.notes:
        console.note(note)
    return watched


def _add_precision(
    bundle: Path, name: str, options: ExportOptions, console: Console, done: Export
) -> tuple[TypedGraph, ...]:
    """The same as attn-export convert on the bundle, with PyTorch at hand."""
    from ..precision import Live, add_precision

    skip = tuple(one for one in options.skip if one == _ATTENTION)
    converted = add_precision(
        bundle, name, half_io=options.half_io, skip=skip, console=console, stage_seconds=options.stage_seconds,
        quantise=options.quantise,
        live={graph: Live(work.checker.ask, work.signature.draw) for graph, work in done.graphs.items()},
    )  # fmt: skip
    return tuple(converted)


@contextmanager
def _modes_put_back(source: object) -> Iterator[None]:
    """A module of the caller's is exported in eval mode, and goes on as it was."""
    modules = getattr(source, "modules", None)  # of an nn.Module, without importing torch for a name
    before = [(module, module.training) for module in modules()] if callable(modules) else []
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
