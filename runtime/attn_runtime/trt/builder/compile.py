"""From a bundle or an ONNX file to an engine with its key: the one call behind both command lines."""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ... import __version__
from ...bundle import AttentionBlock, Bundle
from ...device import compute_capability
from ...errors import BackendError, EngineError, FusionError, OutputError, UsageError
from ...escape import printable
from ...files import irregular, write_file
from ...text_format import columns
from .. import (
    Audit,
    BlockFusion,
    EngineKey,
    EngineStaging,
    Library,
    Profile,
    ShapeTexts,
    audit,
    check_coverage,
    check_engine_target,
    choose,
    engine_place,
    find_engine,
    fusion,
    given_profiles,
    gpus_to_build_for,
    make_profiles,
    os_name,
    portable_set,
    read_plan,
    this_machine,
)
from .build_process import build_apart
from .diagnose import explain
from .network import BuildOptions, Built
from .onnx_source import BuildInput, find_source
from .parser_check import refuse_misread
from .preflight import check_traps, gpus_with_types, is_quantised, unfused_notes
from .progress import BuildProgress


@dataclass(frozen=True)
class Compiled:
    """An engine that was written, or that was `kept` since it fits. `scratch` in bytes; `attention` is empty where nothing tells
    of attention blocks."""

    path: Path
    key: EngineKey
    audit: Audit
    attention: tuple[BlockFusion, ...]
    scratch: int | None
    seconds: float
    notes: tuple[str, ...]
    kept: bool = False

    def to_json(self) -> dict[str, Any]:
        return {
            "engine": str(self.path),
            "kept": self.kept,
            "seconds": self.seconds,
            "notes": list(self.notes),
            "key": self.key.to_json(),
        }


def compile_engine(
    path: str | os.PathLike[str],
    *,
    graph: str | None = None,
    precision: str | None = None,
    flavour: str = "auto",
    profiles: Sequence[Profile] | ShapeTexts | None = None,
    workspace: int | None = None,
    level: int | None = None,
    timing_cache: str | os.PathLike[str] | None = None,
    require_fused: bool = False,
    save_engine: str | os.PathLike[str] | None = None,
    on_progress: Callable[[BuildProgress], object] | None = None,
    blocks: Sequence[AttentionBlock] | None = None,
    kept: Sequence[str] | None = None,
    capabilities: Sequence[str] = (),
    tf32: bool = False,
    exact: bool = False,
    weak: bool = False,
    keep: bool = False,
) -> Compiled:
    """Build an engine from the bundle or ONNX file at `path`, audit it, and write it with its key.

    graph, precision  which of a bundle's; the only graph, and fp32, when left out. For a plain file, `precision` ("fp32",
                      "fp16", "bf16") is what its layers must compute in; left out, they are counted and not judged
    flavour           "tensorrt", "rtx", or "auto": tensorrt on a GPU, else rtx, which needs none to build
    profiles          input -> (min, opt, max) shape, one mapping per profile, or trtexec's texts; None takes the ranges
                      that the bundle was checked for
    workspace         bytes of scratch memory the engine may take; None is the library's own limit
    level             0..5, how hard the builder looks; None is the library's default
    timing_cache      a file of kernel timings to read, and to write anew (tensorrt; rtx has none)
    require_fused     refuse an engine in which an attention block is not one kernel
    save_engine       NAME.engine; None takes BUNDLE/engines/, or beside the plain file
    on_progress       called some times a second; returning False cancels
    blocks, kept      of a plain file: its attention blocks, and the nodes in float32 on purpose
    capabilities      GPUs to build for, as in "8.9" (rtx alone)
    tf32              lets float32 products round their operands to TF32
    exact             compile the precision's own file even where the bundle has one made for TensorRT
    weak              of an fp16 graph: let TensorRT 8.6 or 10 choose between float16 and float32 for every layer
    keep              leave an engine of a bundle as it is where it fits this machine and is typed as asked

    The build runs in a child process. Raises EngineError when it fails, PrecisionError when layers compute in another
    type than the precision's, FusionError, UsageError, BundleError, OutputError, BackendError when nothing here can
    build, StageError when the child crashed. Nothing is written then, and an engine that was there stays.
    """
    _check_numbers(workspace, level)
    source = find_source(Path(path), graph, precision, exact)
    if blocks is not None:
        source = replace(source, blocks=tuple(blocks))
    if kept is not None:
        source = replace(source, kept=tuple(kept))
    traps = check_traps(source.onnx, source.where)
    notes = list(traps.notes)
    _check_requirement(source, require_fused, notes)
    wanted = _profiles(source, profiles)
    chosen = choose(flavour, capabilities)
    gpus = _gpus(source, chosen, capabilities, notes)
    _check_typing(source, chosen, weak)
    if keep and (there := _fitting(source, chosen, weak)) is not None:
        return there
    target = _target(source, chosen, save_engine, capabilities)
    cache = _timing_cache(chosen, timing_cache, notes)
    options = BuildOptions(
        workspace,
        level,
        _read_cache(cache),
        traps.decomposable,
        tf32,
        gpus,
        source.kept,
        weak,
    )
    start = time.monotonic()
    with EngineStaging(target) as staging:
        built = build_apart(chosen.name, source.file, wanted, options, staging.scratch, on_progress)
        refuse_misread(built.misread, source.where)
        if built.plan is None:
            raise explain(
                built, source.onnx, options, _needed(built, source, chosen, wanted, options, staging), source.where
            )
        audited = audit(built.layers, built.products, source.type, source.kept, weak, built.quantised)
        if source.strict:
            audited.require()
        attention = fusion(source.blocks or (), built.layers)
        if require_fused:
            _require(attention, source.where)
        notes += _notes(built, source, attention)
        notes += [*_quantisation_notes(audited), *_row_notes(source, chosen, wanted)]
        key = _key(source, chosen, wanted, options, built, audited, attention, time.monotonic() - start)
        staging.publish(built.plan, key)
    if cache is not None and built.timing_cache is not None:
        write_file(cache, built.timing_cache)
    return Compiled(target, key, audited, attention, built.scratch, key.seconds, tuple(notes))


def _check_numbers(workspace: int | None, level: int | None) -> None:
    if workspace is not None and not 1 <= workspace < 2**63:
        raise UsageError(f"workspace: got {workspace} bytes, expected 1 or more, and fewer than 2^63")
    if level is not None and not 0 <= level <= 5:
        raise UsageError(f"builder level: got {level}, expected 0 to 5")


def _gpus(source: BuildInput, library: Library, requested: Sequence[str], notes: list[str]) -> tuple[str, ...]:
    """The compute capabilities to name to the library; none: its own choice."""
    named = gpus_to_build_for(library, requested, notes)
    usual = portable_set(library) if library.name == "rtx" else tuple(filter(None, (compute_capability(),)))
    candidates = named or usual
    left = gpus_with_types(source.onnx, candidates, bool(requested), source.where, notes)
    return named if left == candidates else left


def _check_typing(source: BuildInput, library: Library, weak: bool) -> None:
    if weak and not library.types_weakly:
        raise UsageError(
            f"--weakly-typed: every network of {library.name} {library.version} has the types of its graph; leave it out"
        )
    if weak and source.type != "fp16":
        raise UsageError(
            f"--weakly-typed is for an fp16 graph, {source.where} is {source.type}; name one with --precision"
        )
    if weak and is_quantised(source.onnx):
        raise UsageError(f"--weakly-typed: {source.where} is quantised, and so typed by its graph; leave it out")
    if not library.is_old:
        return
    if is_quantised(source.onnx):
        raise EngineError(
            f"{source.where}: a quantised graph needs strong types, which TensorRT {library.version} has not; compile "
            "fp32 or fp16, or build on JetPack 6.1 or newer"
        )
    wide = [tensor.name for tensor in source.inputs if tensor.dtype == "int64"]
    if wide:
        raise EngineError(
            f'{source.where}: input "{wide[0]}" is int64, which TensorRT {library.version} does not take; run the model with '
            f"--backend ort, or on JetPack 6.1 or newer"
        )
    if source.type != "fp32" and not weak:
        raise EngineError(
            f"{source.where}: TensorRT {library.version} has no strongly typed networks, so that it would compute "
            f"{source.type} as it likes; compile fp32, or let it with --weakly-typed"
        )


def _fitting(source: BuildInput, library: Library, weak: bool) -> Compiled | None:
    """The engine that is there, where it is this very build's."""
    if not source.path.is_dir() or source.graph is None:
        return None
    machine = this_machine()
    try:
        found = find_engine(Bundle.open(source.path, check_hashes=False), source.graph, source.asked, machine)
        read_plan(found)
    except (BackendError, EngineError):
        return None
    key = found.key
    if (key.flavour, key.precision, key.weak) != (library.name, source.precision, weak):
        return None
    return Compiled(found.path, key, key.audit, key.attention, key.scratch, 0.0, ("it was there and fits",), True)


def _check_requirement(source: BuildInput, require_fused: bool, notes: list[str]) -> None:
    """What can't be known must not be passed off as fused. A Softmax alone may be a classifier's."""
    signs = {"Attention", "MultiHeadAttention"} | ({"Softmax"} if source.blocks is None else set())
    has_attention = any(node.op_type in signs for node in source.onnx.nodes)
    if require_fused and not source.blocks:
        notes.append("no attention block is known in the graph, so --require-fused requires nothing")
    if require_fused and not source.blocks and has_attention:
        raise FusionError(
            f"{source.where}: nothing tells which nodes are attention, so it can't be required to be fused; "
            "take attn-export to-trt, which finds the blocks"
        )


def _profiles(source: BuildInput, asked: Sequence[Profile] | ShapeTexts | None) -> tuple[Profile, ...]:
    if asked is None or isinstance(asked, ShapeTexts):
        texts = asked or ShapeTexts()
        profiles = make_profiles(texts.min, texts.opt, texts.max, source.inputs, source.where)
    else:
        profiles = given_profiles(asked, source.inputs, source.where)
    check_coverage(profiles, source.specs, source.cases, source.where)
    return profiles


def _target(
    source: BuildInput, library: Library, asked: str | os.PathLike[str] | None, capabilities: Sequence[str]
) -> Path:
    if asked is not None:
        target = Path(asked)
        check_engine_target(target)
        return target
    named = capabilities if library.name == "rtx" else filter(None, (compute_capability(),))
    target = engine_place(source.path, source.graph, source.precision, library.name, named)
    check_engine_target(target, source.path if source.graph is not None else None)
    return target


def _timing_cache(library: Library, asked: str | os.PathLike[str] | None, notes: list[str]) -> Path | None:
    if asked is None:
        return None
    path = Path(asked)
    try:
        if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
            raise OutputError(f"timing cache {path}: can't be written; choose another file with --timing-cache")
    except OSError as error:
        raise OutputError(f"timing cache {path}: {error.strerror}; choose another file") from None
    if library.name == "rtx":
        notes.append(f"{path} is not used: TensorRT-RTX has no timing cache, it tunes its kernels on the device")
        return None
    return path


def _read_cache(path: Path | None) -> bytes | None:
    if path is None:
        return None
    if problem := irregular(path):
        raise OutputError(f"timing cache {path}: {problem}; choose another file")
    try:
        return path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise OutputError(f"timing cache {path}: can't be read ({error.strerror}); choose another file") from None


def _needed(
    built: Built,
    source: BuildInput,
    library: Library,
    profiles: Sequence[Profile],
    options: BuildOptions,
    staging: EngineStaging,
) -> int | None:
    """The scratch memory of a build without a limit, where a limit was given and finding out takes seconds."""
    if options.workspace is None or built.problems or library.name != "rtx":
        return None
    with suppress(Exception):
        return build_apart(
            library.name, source.file, profiles, replace(options, workspace=None), staging.scratch
        ).scratch
    return None


def _require(attention: Sequence[BlockFusion], where: str) -> None:
    unfused = [block for block in attention if not block.fused]
    if unfused:
        rows = [("block", "fused", "kernel", "why not", "what would")]
        rows += [
            (printable(b.block.label), "yes" if b.fused else "no", b.kernel[:30], b.why_not, b.cure) for b in attention
        ]
        raise FusionError(
            f"{where}: {len(unfused)} of {len(attention)} attention blocks are not fused: "
            f"{printable(unfused[0].block.label)} ({unfused[0].why_not}); nothing was written. Below, what would fuse "
            "them; without --require-fused they are built as they are",
            columns(rows),
        )


def _notes(built: Built, source: BuildInput, attention: Sequence[BlockFusion]) -> list[str]:
    kernels = {node for layer in built.layers if "_mha" in layer.tactic for node in layer.nodes}
    notes = list(unfused_notes(source.onnx, sorted(kernels)))
    notes += [f"{one.place}: {one.text}" for one in built.misread]
    notes += [
        printable(text, 300) for text in built.warnings if "not self-consistent" in text or "Unused Input" in text
    ]
    return notes


def _quantisation_notes(audited: Audit) -> Iterator[str]:
    count = len(audited.widened)
    if count:
        first = printable(", ".join(audited.widened[:3]))
        told = f"{count} products widen their" if count > 1 else "1 product widens its"
        yield (
            f"{told} quantised weights before each use, so that these are small in the engine and no faster: {first}"
            f"{', ...' if count > 3 else ''}"
        )


def _row_notes(source: BuildInput, library: Library, profiles: Sequence[Profile]) -> Iterator[str]:
    """TensorRT-RTX shares weights between profiles, but for one that has a single row (1.7.1)."""
    if library.name != "rtx" or len(profiles) < 2:
        return
    for tensor in source.inputs:
        rows = [tuple(math.prod(shape[:-1]) for shape in one.get(tensor.name, ())) for one in profiles]
        if (1, 1, 1) in rows and len(set(rows)) > 1:
            yield (
                f'input "{tensor.name}" has exactly one row in a profile: TensorRT-RTX keeps a second copy of most weights '
                "for that; a profile of 1 to 2 rows shares them"
            )
            return


def _key(
    source: BuildInput,
    library: Library,
    profiles: Sequence[Profile],
    options: BuildOptions,
    built: Built,
    audited: Audit,
    attention: tuple[BlockFusion, ...],
    seconds: float,
) -> EngineKey:
    assert built.plan is not None
    here = compute_capability()
    if library.name == "rtx":
        built_for = options.capabilities or portable_set(library)
    elif here is not None:
        built_for = (here,)
    else:
        raise EngineError(
            f"{source.where}: the driver does not tell this GPU's compute capability; see attn-run doctor"
        )
    return EngineKey(
        source.name,
        source.file.name,
        source.digest,
        source.graph,
        source.precision,
        source.type,
        tuple(profiles),
        library.name,
        library.version,
        built_for,
        os_name(),
        hashlib.sha256(built.plan).hexdigest(),
        len(built.plan),
        built.scratch,
        options.workspace,
        options.level,
        options.tf32,
        audited,
        attention,
        round(seconds, 3),
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        f"attn-runtime {__version__}",
        options.weak,
    )
