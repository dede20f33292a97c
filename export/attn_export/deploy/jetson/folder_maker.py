"""A bundle into a folder for a Jetson board, which sets itself up there: no torch, no onnx and no network needed on it.

FOLDER/setup.sh        starts everything
       deploy.json     board, JetPack, what to build, sha256 of every file
       NAME.attn/      the bundle: typed graphs, golden cases, manifest; without engines, which are built on the board
       wheels/         attn-runtime, and with `wheels` what it needs
       cpp/            the C++ library, its header and examples for aarch64, where a compiler was there
       README.txt
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attn_runtime.bundle import ENGINES, MANIFEST, Bundle, Graph
from attn_runtime.errors import OutputError, UsageError, did_you_mean
from attn_runtime.escape import shell_words
from attn_runtime.jetson import ORDER, PAGE, PART, REPORT, Board, Order, Release, find_board, refuse, release_for
from attn_runtime.onnx_file import read_graph
from attn_runtime.trt.builder import gpus_with_types, is_quantised

from ... import __version__
from ...precision import schemes
from .. import DeployFolder
from .cpp_library import add_cpp
from .texts import readme, setup_script
from .wheels import add_runtime, add_wheels

#: What an engine may be made by and for; the board's table refuses all but the first of each.
ENGINE_KINDS, ACCELERATORS = ("tensorrt", "rtx", "onnxruntime-cuda"), ("gpu", "dla")
#: Precisions that are asked for and that no bundle has: the board says why not, or the bundle does.
_FURTHER = ("fp8", "fp4")
#: What else lies in the folder, once it is set up too.
_TAKEN = ("setup.sh", ORDER, "README.txt", "wheels", "cpp", "python", REPORT, PAGE, ENGINES)


@dataclass(frozen=True)
class JetsonOptions:
    """precisions  to build on the board; empty: a half precision where the bundle has one, else fp32
    engine      one of ENGINE_KINDS; accelerator one of ACCELERATORS
    wheels      fetch what attn-runtime needs, for the board's Python
    cpp         "auto": where a compiler is there; "yes": fail without; "no"
    """

    board: str
    jetpack: str | None = None
    precisions: tuple[str, ...] = ()
    engine: str = "tensorrt"
    accelerator: str = "gpu"
    wheels: bool = False
    cpp: str = "auto"
    force: bool = False


@dataclass(frozen=True)
class Deployed:
    """What was written, and `notes` on what was left out."""

    path: Path
    board: Board
    release: Release
    precisions: tuple[str, ...]
    files: int
    size: int
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "output": str(self.path),
            "board": self.board.name,
            "jetpack": self.release.version,
            "files": self.files,
            "bytes": self.size,
            "precisions": list(self.precisions),
            "notes": list(self.notes),
        }


def deploy_jetson(bundle_path: Path, output: Path, options: JetsonOptions) -> Deployed:
    """Write `output`, a folder or a .tar.gz, whole or not at all.

    Raises UsageError for what the board can't do, with the reason, and for a precision that the bundle lacks; BundleError
    for a damaged bundle; OutputError where the output can't be written, or would destroy something else; StageError where a
    wheel or the C++ library can't be made.
    """
    board = find_board(options.board)
    release = release_for(board, options.jetpack)
    _check_choices(board, release, options)
    bundle = Bundle.open(bundle_path)
    precisions = _precisions(bundle, board, release, options.precisions)
    _check_name(bundle)
    with DeployFolder(output, ORDER, options.force) as folder:
        notes = _notes(bundle, release, precisions)
        _copy_bundle(bundle, folder)
        add_runtime(folder)
        notes += add_wheels(folder, release) if options.wheels else [_without_wheels(release)]
        notes += add_cpp(folder, release, options.cpp)
        folder.add_text("setup.sh", setup_script(), executable=True)
        folder.add_text("README.txt", readme(bundle.name, board, release, notes))
        listed = folder.hashes(leave_out=bundle.path.name)
        made_by = f"attn-export {__version__}"
        order = Order(bundle.path.name, board.name, release.version, precisions, listed, tuple(notes), made_by)
        folder.add(ORDER, order.to_bytes())
        files, size = folder.commit()
    return Deployed(output, board, release, precisions, files, size, tuple(notes))


def _check_choices(board: Board, release: Release, options: JetsonOptions) -> None:
    for kind, asked, known in (
        ("engine", options.engine, ENGINE_KINDS),
        ("accelerator", options.accelerator, ACCELERATORS),
        ("cpp", options.cpp, ("auto", "yes", "no")),
    ):
        if asked not in known:
            raise UsageError(f'--{kind}: unknown "{asked}"; {did_you_mean(asked, known)}available: {", ".join(known)}')
        refuse(board, release, f"{kind}:{asked}")


def _precisions(bundle: Bundle, board: Board, release: Release, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Those to build. The board is asked first, since "no fp8 on Orin" helps more than "the bundle has none"."""
    graphs = list(bundle.graphs.values())
    for name in asked:
        refuse(board, release, f"precision:{name}")
        for graph in graphs:
            if name not in graph.precisions:
                convert = f"; {shell_words('attn-export', 'convert', str(bundle.path), *schemes.option(name).split())}"
                made = "; no bundle has it yet" if name in _FURTHER else convert
                raise UsageError(
                    f'{bundle.label(graph)}: no precision "{name}"; {did_you_mean(name, graph.precisions)}available: '
                    f"{', '.join(graph.precisions)}{made if name in (*schemes.names(), *_FURTHER) else ''}"
                )
            refuse(board, release, f"precision:{graph.precisions[name].type}")
            _check_quantised(bundle, graph, name, board, release)
    if asked:
        return tuple(dict.fromkeys(asked))
    usual = next((n for n in ("fp16", "bf16") if all(n in graph.precisions for graph in graphs)), None)
    return (usual or graphs[0].default_precision,)


def _check_quantised(bundle: Bundle, graph: Graph, name: str, board: Board, release: Release) -> None:
    """By the file that is built: what a precision is called does not tell whether it is quantised, and to what."""
    where = f"{bundle.label(graph)}, precision {name}"
    read = read_graph(graph.precision_for(name, "tensorrt")[1].file, where)
    if is_quantised(read) and not release.strongly_typed:
        raise UsageError(
            f"{where}: a quantised graph needs strong types, which TensorRT {release.tensorrt} of JetPack "
            f"{release.version} has not; take fp16, or --jetpack 6.1 or newer"
        )
    gpus_with_types(read, (board.capability,), True, f"{where}, for {board.title}", [])


def _notes(bundle: Bundle, release: Release, precisions: tuple[str, ...]) -> list[str]:
    notes = []
    forms = [graph.precision_for(name, "tensorrt")[1] for graph in bundle.graphs.values() for name in precisions]
    if all(form.type == "fp32" for form in forms):
        notes.append(
            "only fp32 is built: for the board's fast half precision, "
            f"{shell_words('attn-export', 'convert', bundle.path.name, '--fp16')} first"
        )
    if not release.strongly_typed:
        notes.append(
            f"TensorRT {release.tensorrt} of JetPack {release.version} has no strongly typed networks: fp16 is built with "
            "./setup.sh --weak-fp16 alone, and inputs of int64 are refused"
        )
    return notes


def _without_wheels(release: Release) -> str:
    return (
        "attn-runtime needs numpy, safetensors and click on the board, and cuda-python for engines: its own Python "
        f"{release.python} must have them, or deploy again with --wheels"
    )


def _check_name(bundle: Bundle) -> None:
    """The bundle's folder lies beside those of the deployed folder, and deploy.json names it."""
    name = bundle.path.name
    if not re.fullmatch(PART, name) or name in _TAKEN:
        raise OutputError(
            f"bundle {bundle.path}: its folder's name can't be one on the board; expected letters, digits, _, ., + and -, and "
            f"none of {', '.join(_TAKEN)}; rename it (. is not a name: give the folder's path)"
        )


def _copy_bundle(bundle: Bundle, folder: DeployFolder) -> None:
    """What the manifest lists and the manifest, all of one export; engines are of another machine."""
    names = [*bundle.manifest["files"], MANIFEST]

    def copy() -> None:
        for name in names:
            folder.add_file(f"{bundle.path.name}/{name}", bundle.folder / name)

    bundle.files.read(names, copy)
