"""Open a NAME.attn bundle without trusting it: manifest, hashes, graphs, golden cases, assets.

Every problem is a BundleError of one line that names the bundle, what was found, what was expected, what to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..arguments import FLAG, NONE, PATH, TEXT, expect
from ..compare import Tolerance
from ..errors import BundleError, UsageError, did_you_mean
from ..files import (
    MAX_ASSET_BYTES,
    is_file,
    parse_json,
    read_json,
    recover,
    resolved,
    shown,
)
from ..lazy import dataclass
from ..logs import Log
from ..onnx_file import check_external_data
from ..spec import TensorSpec
from . import known_hashes
from .attention_block import AttentionBlock
from .known_hashes import Known, Mark
from .manifest import MANIFEST, check_asset, check_manifest, rules_version
from .opened_files import OpenedFiles, ReplacedError, mark_of
from .places import check_files, check_folder, inside

_log = Log(__name__)

#: How often a bundle may be replaced while it is being opened.
_PATIENCE = 20


def is_bundle(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a folder with a manifest.json; says nothing of its health."""
    return is_file(Path(path) / MANIFEST)


@dataclass(frozen=True)
class Precision:
    """One ONNX file of a graph, with the external data files it names, and what 'equal' means for its answers.

    type        of its arithmetic, as the schema lists them (of a quantised graph, that of its rest); what the precision itself is
                called says nothing of it
    target      "tensorrt" when the file was made for that engine alone, else None
    half_io     whether the graph's float32 inputs and outputs are float16 in this file
    kept        nodes that stay in fp32 although the type is half: node, operator, module, reason
    quantised   how its products are quantised, as the schema has it; None where they are not
    attention   its attention blocks; None where the bundle does not tell
    sha256      of the ONNX file
    """

    file: Path
    data: tuple[Path, ...]
    tolerance: Tolerance
    type: str = "fp32"
    target: str | None = None
    half_io: bool = False
    kept: tuple[Mapping[str, str], ...] = ()
    attention: tuple[AttentionBlock, ...] | None = None
    quantised: Mapping[str, Any] | None = None
    sha256: str = ""

    @property
    def held_to(self) -> str | None:
        """The type whose golden cases it is held to, as `Graph.golden_for` takes it. Inputs far from the usual are for types that
        follow them, which ranges that were calibrated do not."""
        return None if self.quantised is not None and self.quantised["activations"] == "static" else self.type


Arrays = dict[str, NDArray[Any]]
#: What a case holds of its inputs and answers: the arrays by tensor name, or the .safetensors files that they lie in.
Data = TypeVar("Data", Arrays, Path)
Result = TypeVar("Result")


@dataclass(frozen=True)
class Case(Generic[Data]):
    """One choice of sizes (dim name -> elements), the inputs at it and what was answered to them.

    A `Case[Arrays]` holds the arrays, and none where nothing was drawn or asked yet; a `Case[Path]` says which files to
    read them from.
    """

    name: str
    sizes: Mapping[str, int]
    inputs: Data
    outputs: Data

    def to_fp16(self: Case[Arrays]) -> Case[Arrays]:
        """The case as a file with `half_io` takes it: every float32 tensor as float16."""
        return replace(self, inputs=to_fp16(self.inputs), outputs=to_fp16(self.outputs))


@dataclass(frozen=True)
class GoldenRef(Case[Data], Generic[Data]):
    """A case that travels with the model.

    checked_sizes   the corner that was checked; `sizes` is what was stored of it
    seed            drew its inputs, before some were scaled or masked
    types           the element types of arithmetic that are held to it; none means all
    """

    checked_sizes: Mapping[str, int]
    seed: int
    types: tuple[str, ...] = ()


def to_fp16(arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """Arrays as a file with `half_io` takes and gives them: float32 as float16, the others as they are."""
    return {n: v.astype(np.float16) if v.dtype == np.float32 else v for n, v in arrays.items()}


def to_reference_dtype(arrays: Mapping[str, NDArray[Any]], like: Mapping[str, NDArray[Any]]) -> Arrays:
    """Answers of a file with `half_io`, in the dtypes of the references `like`: an error is held against PyTorch's float32
    answers, not against their rounding."""
    return {n: v.astype(like[n].dtype) for n, v in arrays.items()}


@dataclass(frozen=True)
class Graph:
    """One graph of a bundle. `bundle` is the bundle's file name, for messages."""

    name: str
    bundle: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    precisions: Mapping[str, Precision]
    golden: tuple[GoldenRef[Path], ...]
    files: OpenedFiles = field(repr=False, compare=False)

    @property
    def default_precision(self) -> str:
        """The precision that is meant where none is named: fp32, or the first where there is no fp32."""
        return "fp32" if "fp32" in self.precisions else next(iter(self.precisions))

    def chosen(self, precision: str | None, where: str) -> str:
        """The precision that was asked for, or the default; UsageError, which ends with `where`, for one that it has not."""
        name = self.default_precision if precision is None else precision
        if name not in self.precisions:
            raise UsageError(
                f'unknown precision "{name}"; {did_you_mean(name, self.precisions)}'
                f"available: {', '.join(self.precisions)} ({where})"
            )
        return name

    def precision_for(self, name: str, target: str) -> tuple[str, Precision]:
        """The precision `name`, or the file of the same type and borders that was made of it for the engine `target`.

        Where several precisions have one type and borders, that is the file which has the name in front: NAME-trt.
        """
        chosen, own = self.precisions[name], self.precisions.get(f"{name}-trt")
        if own is not None and own.target == target:
            return f"{name}-trt", own
        if chosen.quantised is not None:
            return name, chosen
        alike = {
            n: p
            for n, p in self.precisions.items()
            if (p.type, p.half_io, p.quantised) == (chosen.type, chosen.half_io, None)
        }
        made = {n: p for n, p in alike.items() if p.target == target}
        if sum(p.target is None for p in alike.values()) > 1:
            made = {n: p for n, p in made.items() if n == name or n == f"{name}-trt"}
        return next(iter(made.items()), (name, chosen))

    def borders(self, name: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        """Inputs and outputs as the file of the precision `name` has them."""
        if not self.precisions[name].half_io:
            return self.inputs, self.outputs
        return tuple(map(_half, self.inputs)), tuple(map(_half, self.outputs))

    def golden_for(self, type: str | None) -> tuple[GoldenRef[Path], ...]:
        """The golden cases that a precision of this type is held to; None: those that every type is."""
        return tuple(ref for ref in self.golden if not ref.types or type in ref.types)

    def cases(self, type: str | None = "fp32") -> Iterator[Case[Arrays]]:
        """The golden cases that a precision of `type` is held to, in the manifest's order, one in memory at a time.

        Raises BundleError where a file is damaged or a tensor's name, dtype or shape is not the graph's, and where the bundle
        was replaced since it was opened.
        """
        for ref in self.golden_for(type):
            yield self.files.read([ref.inputs, ref.outputs], partial(self._case, ref))

    def _case(self, ref: GoldenRef[Path]) -> Case[Arrays]:
        from .tensor_files import read_tensors  # and safetensors, which a session has no use for

        where = f"bundle {self.bundle}: golden case {shown(ref.name)}"
        return Case(
            ref.name,
            ref.sizes,
            read_tensors(ref.inputs, self.inputs, ref.sizes, where),
            read_tensors(ref.outputs, self.outputs, ref.sizes, where),
        )


def _half(spec: TensorSpec) -> TensorSpec:
    return replace(spec, dtype="float16") if spec.dtype == "float32" else spec


class Bundle:
    """A checked bundle on disk. Make one with `Bundle.open`.

    It is of one export. What is read later, by `asset`, `Graph.cases` and `files.read`, is of that export too, or BundleError
    says that the bundle was replaced since it was opened.

    path      as it was given
    files     its files: they stay where they were found, wherever the process or a link goes
    paranoid  whether every file was read for its hash, whatever was remembered
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], files: OpenedFiles | None = None, paranoid: bool = False
    ) -> None:
        self.path, self.paranoid = path, paranoid
        self.manifest = manifest
        self.files = files or OpenedFiles(path.resolve(), manifest, f"bundle {path.name}")
        self.graphs = {name: self._graph(name, data) for name, data in manifest["graphs"].items()}

    @classmethod
    def open(cls, path: str | os.PathLike[str], check_hashes: bool = True, *, paranoid: bool = False) -> Bundle:
        """Read and check the bundle at `path`.

        Every file is read for its sha256, but those that this user has read before and that nobody has touched since
        (docs/use/backends.md, "Opening again"); with `paranoid`, all of them. Paths, existence and sizes are always checked;
        `check_hashes=False` leaves out all hashes, for callers who have checked the same bundle before. Raises BundleError.
        """
        expect(PATH, path=path)
        expect(FLAG, check_hashes=check_hashes, paranoid=paranoid)
        path = Path(path)
        for _ in range(_PATIENCE):
            recover(path)
            before = check_folder(path)
            try:
                return cls._open(path, check_hashes, paranoid or known_hashes.paranoid())
            except BundleError:
                # Half of it may be of one export and half of the next, which replaced it meanwhile.
                recover(path)
                if check_folder(path) == before:
                    raise
        raise BundleError(f"bundle {path.name}: it is being replaced over and over; try again later")

    @classmethod
    def _open(cls, path: Path, check_hashes: bool, paranoid: bool) -> Bundle:
        where = f"bundle {path.name}"
        root = resolved(path)
        began, known = time.time_ns(), known_hashes.recall(root) if check_hashes and not paranoid else {}
        manifest, checked = _read_manifest(root, where, known)
        files, assets = OpenedFiles(root, manifest, where), set(manifest["assets"].values())
        listed = manifest["files"]
        # All sizes first: they cost nothing, and a hash of gigabytes is wasted on a bundle that lacks a file.
        marks = check_files(root, {relative: entry["size"] for relative, entry in listed.items()}, where)
        unread = {
            relative
            for relative, entry in listed.items()
            if not check_hashes or known.get(relative) == (marks[relative], entry["sha256"])
        }
        for relative, entry in listed.items():
            if relative not in unread:
                _check_hash(files, relative, entry["sha256"], where, keep=relative in assets)
                continue
            files.trust(relative, marks[relative])
            if check_hashes and relative in assets and marks[relative][2] <= MAX_ASSET_BYTES:
                files.json_bytes(relative)  # who asks later, when another export may lie there, gets this one's
        read = len(listed) - len(unread)
        _log.info("%s: opened %s; %d of %d files were read for their hashes", where, root, read, len(listed))
        bundle = cls(path, manifest, files, paranoid)
        for graph in bundle.graphs.values():
            for precision in graph.precisions.values():
                # Which other files a graph names is said by its bytes. They were held to the manifest's before they were known.
                if not check_hashes or precision.file.relative_to(root).as_posix() not in unread:
                    _check_data(precision, where)
        if check_hashes and not paranoid:
            told = {name: (mark, listed[name]["sha256"]) for name, mark in marks.items()} | checked
            settled = {name: each for name, each in told.items() if known_hashes.settled_before(each[0], began)}
            if settled and settled != known:
                known_hashes.remember(root, settled)
        return bundle

    @property
    def name(self) -> str:
        """The model's name, as the manifest has it."""
        return str(self.manifest["name"])

    def graph(self, name: str | None = None) -> Graph:
        """The graph `name`, or the only one there is; BundleError with the names otherwise."""
        expect(TEXT | NONE, name=name)
        if name is None and len(self.graphs) == 1:
            return next(iter(self.graphs.values()))
        if name is not None and name in self.graphs:
            return self.graphs[name]
        asked = f"has {len(self.graphs)} graphs" if name is None else f"has no graph {shown(name)}"
        raise BundleError(f"bundle {self.path.name}: {asked}; name one of {', '.join(self.graphs)}")

    def label(self, graph: Graph) -> str:
        """What messages call `graph`: the bundle, and the graph where there are several."""
        return f"bundle {self.path.name}" + (f", graph {graph.name}" if len(self.graphs) > 1 else "")

    def file(self, relative: str) -> Path:
        """The path of a file that the manifest lists (and `open` has checked); BundleError for any other."""
        if relative not in self.manifest["files"]:
            from difflib import get_close_matches

            near = get_close_matches(relative, self.manifest["files"], 1)
            hint = f"did you mean {near[0]}?" if near else "see files in manifest.json"
            raise BundleError(f"bundle {self.path.name}: lists no file {shown(relative)}; {hint}")
        return self.folder / relative

    @property
    def folder(self) -> Path:
        """Where the files lie: absolute, every link in it followed when the bundle was opened."""
        return self.files.folder

    def asset(self, name: str) -> Any | None:
        """The parsed JSON of an asset, None when the bundle has none of that name.

        Those in `manifest.ASSET_FORMS` have the form that manifest.schema.json gives under $defs. Raises BundleError.
        """
        expect(TEXT, name=name)
        relative = self.manifest["assets"].get(name)
        if relative is None:
            return None
        where = f"bundle {self.path.name}"
        value = parse_json(self.files.json_bytes(relative), f"{where}: {self.file(relative).name}")
        check_asset(name, value, where)
        return value

    def _graph(self, name: str, data: Mapping[str, Any]) -> Graph:
        return Graph(
            name,
            self.path.name,
            tuple(map(TensorSpec.from_json, data["inputs"])),
            tuple(map(TensorSpec.from_json, data["outputs"])),
            {key: self._precision(entry) for key, entry in data["precisions"].items()},
            tuple(
                GoldenRef(
                    golden["case"],
                    golden["sizes"],
                    self.file(golden["inputs"]),
                    self.file(golden["outputs"]),
                    golden["checked_sizes"],
                    golden["seed"],
                    tuple(golden.get("types", ())),
                )
                for golden in data["golden"]
            ),
            self.files,
        )

    def _precision(self, entry: Mapping[str, Any]) -> Precision:
        return Precision(
            self.file(entry["file"]),
            tuple(map(self.file, entry["data"])),
            Tolerance.from_json(entry["tolerance"]),
            entry.get("type", "fp32"),
            entry.get("target"),
            entry.get("half_io", False),
            tuple(entry.get("kept", ())),
            tuple(map(AttentionBlock.from_json, entry["attention"])) if "attention" in entry else None,
            entry.get("quantised"),
            self.manifest["files"][entry["file"]]["sha256"],
        )


def with_bundle(
    path: str | os.PathLike[str] | Bundle, use: Callable[[Bundle], Result], *, paranoid: bool = False
) -> Result:
    """What `use` returns for the bundle at `path`, opened again where it was replaced in the middle of it; or for one that
    is open, and then it is that export's or none. Raises what `Bundle.open` and `use` raise.
    """
    if isinstance(path, Bundle):
        return use(path)
    for tries in range(_PATIENCE):
        try:
            return use(Bundle.open(path, paranoid=paranoid))
        except ReplacedError:
            if tries == _PATIENCE - 1:
                raise
    raise AssertionError


def _read_manifest(root: Path, where: str, known: Known) -> tuple[dict[str, Any], Known]:
    """The manifest, checked, and who has checked these bytes, to be remembered: this reader, and others as `known` has it."""
    file = inside(root, MANIFEST, where)
    before = _mark_of_manifest(file)
    manifest = read_json(file, where)
    if before is None or before != _mark_of_manifest(file):
        check_manifest(manifest, where)
        return manifest, {}
    mine = f"{known_hashes.CHECKED}python {rules_version()}"
    if known.get(mine) != (before, ""):
        check_manifest(manifest, where)
    others = {name for name, (mark, _) in known.items() if name.startswith(known_hashes.CHECKED) and mark == before}
    return manifest, dict.fromkeys(sorted({mine, *others}), (before, ""))


def _mark_of_manifest(file: Path) -> Mark | None:
    try:
        return mark_of(file.stat())
    except OSError:  # which reading it tells of
        return None


def _check_hash(files: OpenedFiles, relative: str, expected: str, where: str, keep: bool) -> None:
    try:
        found = files.hash(relative, keep)
    except OSError as error:
        raise BundleError(f"{where}: can't read {relative}: {error.strerror}; check its permissions") from None
    if found != expected:
        raise BundleError(
            f"{where}: sha256 of {relative} is {found}, manifest says {expected}; "
            "the file was changed after export; re-export or restore it"
        )


def _check_data(precision: Precision, where: str) -> None:
    """A graph may only read weights that the manifest lists and `open` has hashed."""
    listed = {path.resolve() for path in precision.data}
    for path in check_external_data(precision.file, where):
        if path not in listed:
            raise BundleError(
                f"{where}: {precision.file.name} keeps tensors in {shown(path.name)}, which the manifest does not list "
                f"as its data, only {shown([data.name for data in precision.data])}; re-export the bundle"
            )
