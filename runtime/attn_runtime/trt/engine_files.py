"""Where engines lie, which of them fits, and how one is written: the engine and its key, together or not at all.

    BUNDLE/engines/GRAPH.PRECISION.FLAVOUR.engine        what trtexec or tensorrt_rtx can load
    BUNDLE/engines/GRAPH.PRECISION.FLAVOUR.engine.json   its key
A plain model.onnx has its engines beside it: model.PRECISION.FLAVOUR.engine.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..bundle import Bundle, Precision, sha256_of
from ..errors import BackendError, EngineError, OutputError
from ..escape import shell_words
from ..files import Staging, irregular, is_folder, recover, resolved
from ..logs import Log
from ..onnx_file import check_external_data
from .engine_key import EngineKey, Wanted, mismatch_text, mismatches, model_digest, read_key
from .machine import Machine

_log = Log(__name__)

ENGINES = "engines"
SUFFIX = ".engine"
KEY_SUFFIX = ".engine.json"


@dataclass(frozen=True)
class EngineFile:
    """An engine with its key, which fits the machine it was asked for."""

    path: Path
    key: EngineKey


def find_engine(bundle: Bundle, graph: str, precision: str, machine: Machine) -> EngineFile:
    """The engine in `bundle` that was built from that graph and precision and fits `machine`.

    Raises BackendError when there is none, with the fields in which the nearest one differs and the command that
    builds it; EngineError when none fits and a key is damaged. The engine itself is not read: `read_plan` does.
    """
    found = bundle.graph(graph)
    # The file made for TensorRT first; an engine of the precision's own file serves as well.
    files = dict([found.precision_for(precision, "tensorrt"), (precision, found.precisions[precision])])
    wanted = [Wanted(bundle_digest(bundle, entry), graph, name, entry.type, machine) for name, entry in files.items()]
    command = build_command(bundle.path, precision, graph if len(bundle.graphs) > 1 else None)
    where = f"bundle {bundle.path.name}, {f'graph {graph}, ' if len(bundle.graphs) > 1 else ''}precision {precision}"
    return _fitting(*_read(key_paths(_folder_of(bundle))), wanted, where, command)


def find_engine_beside(file: Path, machine: Machine) -> EngineFile:
    """As `find_engine`, for a plain ONNX file: any engine beside it that was built from this very file."""
    digest = file_digest(file)
    keys, damaged = _read(path for path in key_paths(file.parent) if path.name.startswith(f"{file.stem}."))
    keys = {path: key for path, key in keys.items() if key.graph is None}
    same = {path: key for path, key in keys.items() if key.model_sha256 == digest}
    # What a plain file's precision is called is the builder's choice.
    like = next(iter((same or keys).values()), None)
    wanted = Wanted(digest, None, like.precision if like else "fp32", like.type if like else "fp32", machine)
    return _fitting(same or keys, damaged, [wanted], f"file {file.name}", build_command(file, None, None))


def read_plan(engine: EngineFile) -> bytes:
    """The engine's bytes, which are those that its key tells of.

    Raises EngineError where the file is missing or damaged: no library may read a plan that was changed.
    """
    key, where = engine.key, f"engine {engine.path.name}"
    advice = "it was changed or cut short; build it again"
    if problem := irregular(engine.path):
        raise EngineError(f"{where}: {problem}; build it again")
    try:
        size = engine.path.stat().st_size
        if size != key.engine_size:
            raise EngineError(f"{where}: got {size} bytes, its key says {key.engine_size}; {advice}")
        plan = engine.path.read_bytes()
    except OSError as error:
        raise EngineError(f"{where}: can't be read ({error.strerror}); build it again") from None
    digest = hashlib.sha256(plan).hexdigest()
    if digest != key.engine_sha256:
        raise EngineError(f"{where}: sha256 is {digest[:12]}, its key says {key.engine_sha256[:12]}; {advice}")
    return plan


def bundle_digest(bundle: Bundle, entry: Precision) -> str:
    """What identifies one precision's files, from the manifest, whose hashes the opening of the bundle checked."""
    listed = {bundle.folder / path: told["sha256"] for path, told in bundle.manifest["files"].items()}
    return model_digest(entry.file, {path.name: listed[path] for path in (entry.file, *entry.data)})


def file_digest(file: Path) -> str:
    """What identifies a plain ONNX file with its external data. Raises BundleError for a hostile or missing file."""
    files = [file, *check_external_data(file, f"file {file.name}")]
    return model_digest(file, {path.name: sha256_of(path) for path in files})


def engine_place(path: Path, graph: str | None, precision: str, flavour: str, capabilities: Iterable[str]) -> Path:
    """Where the engine of a bundle or plain file lies by default. `capabilities` as asked for, empty for the default."""
    tag = "".join(f"-sm{text.replace('.', '')}" for text in capabilities)
    if is_folder(path):
        return path / ENGINES / f"{graph}.{precision}.{flavour}{tag}{SUFFIX}"
    stem = path.stem.removesuffix(f".{precision}")
    return path.parent / f"{stem}.{precision}.{flavour}{tag}{SUFFIX}"


def check_engine_target(target: Path, bundle: Path | None = None) -> None:
    """OutputError unless an engine can be written at `target`; worth calling before a build.

    The folder must exist, but for BUNDLE/engines, and a file that is there must be an engine with its key.
    """
    advice = "choose another with --saveEngine"
    if target.suffix != SUFFIX:
        raise OutputError(f"engine {target}: got {target.name!r}, expected a name NAME{SUFFIX}")
    try:
        if bundle is not None and not resolved(target.parent).is_relative_to(resolved(bundle)):
            raise OutputError(f"{target.parent}: a link out of the bundle; remove it, or {advice}")
        parent = resolved(target).parent if bundle is None else target.parent
        if bundle is not None and not parent.exists():
            parent = parent.parent
        if not parent.is_dir():
            found = "is a file" if parent.exists() else "does not exist"
            raise OutputError(f"engine {target}: folder {parent} {found}; create it or {advice}")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OutputError(f"engine {target}: folder {parent} is not writable; {advice}")
        for place in (target, key_path(target)):
            if place.is_dir():
                raise OutputError(f"engine {target}: {place.name} is a folder; {advice}")
        if target.exists() and not key_path(target).exists():
            raise OutputError(f"engine {target}: a file without a key is there, not ours to replace; {advice}")
    except OSError as error:
        raise OutputError(f"engine {target}: {error.strerror or error}; {advice}") from None


class EngineStaging:
    """Where an engine comes into being, beside its place; leaving it without `publish` leaves no trace.

    `scratch` is a folder for files that are not published.
    """

    def __init__(self, target: Path) -> None:
        self._target = target
        self._made = False

    def __enter__(self) -> EngineStaging:
        try:
            self._made = not self._target.parent.exists()
            if self._made:
                self._target.parent.mkdir(exist_ok=True)  # by another build, meanwhile
            # The key is the target of the two files: it leaves first and comes last, so that no key ever stands beside
            # another's engine.
            self._staging = Staging(key_path(self._target))
            self.scratch = self._staging.folder / "scratch"
            self.scratch.mkdir()
        except OSError as error:
            raise self._error(error) from error
        return self

    def publish(self, plan: bytes, key: EngineKey) -> None:
        """Put engine and key in place, whole; what was there before stays when that fails. Raises OutputError."""
        told = key.to_bytes()
        try:
            (self._staging.new / self._target.name).write_bytes(plan)
            (self._staging.new / key_path(self._target).name).write_bytes(told)
            self._staging.publish()
            _log.info("built the engine %s, %d bytes", self._target, len(plan))
        except OSError as error:
            raise self._error(error) from error

    def __exit__(self, *_: object) -> None:
        self._staging.discard()
        if self._made:
            with suppress(OSError):  # not empty: it was published
                self._target.parent.rmdir()

    def _error(self, error: OSError) -> OutputError:
        return OutputError(f"can't write {self._target}: {error.strerror or error}; what was there is still there")


def key_path(engine: Path) -> Path:
    """NAME.engine -> NAME.engine.json."""
    return engine.with_name(engine.name + ".json")


def build_command(path: Path, precision: str | None, graph: str | None) -> str:
    """The command line that builds what is missing."""
    words = ["attn-run", "compile", str(path)]
    words += ["--precision", precision] if precision and precision != "fp32" else []
    words += ["--graph", graph] if graph else []
    return shell_words(*words)


def _read(paths: Iterable[Path]) -> tuple[dict[Path, EngineKey], EngineError | None]:
    """The keys by path, and the error of the last one that is damaged."""
    keys: dict[Path, EngineKey] = {}
    damaged = None
    for path in paths:
        try:
            keys[path] = read_key(path)
        except EngineError as error:
            damaged = error
    return keys, damaged


def _fitting(
    keys: Mapping[Path, EngineKey], damaged: EngineError | None, wanted: Sequence[Wanted], where: str, command: str
) -> EngineFile:
    """The best of the engines that fit the first of `wanted` that any fits."""
    for one in wanted:
        fitting = [(key, path) for path, key in keys.items() if not mismatches(key, one)]
        if fitting:
            # Built for fewer kinds of GPU is built for this one the more; the full library before the portable one.
            key, path = min(fitting, key=lambda f: (len(f[0].compute_capabilities), f[0].flavour != "tensorrt"))
            return EngineFile(path.with_name(path.name.removesuffix(".json")), key)
    if damaged is not None:
        raise EngineError(f"{where}: {damaged}: {command}")
    if not keys:
        raise BackendError(f"{where}: no engine has been built. Build one: {command}")
    differing = [(mismatches(key, one), path) for path, key in keys.items() for one in wanted]
    found, path = min(differing, key=lambda pair: len(pair[0]))
    raise BackendError(
        f"{where}: no engine fits; {path.name.removesuffix('.json')} differs in {mismatch_text(found)}. "
        f"Build one: {command}"
    )


def _folder_of(bundle: Bundle) -> Path:
    folder = bundle.folder / ENGINES
    if folder.exists() and not folder.resolve().is_relative_to(bundle.folder):
        raise EngineError(f"bundle {bundle.path.name}: {ENGINES} is a link out of the bundle; remove it")
    return folder


def key_paths(folder: Path) -> Iterator[Path]:
    """The keys of the engines in `folder`, sorted; none where there is no such folder."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError:
        return
    # A build that was killed while it replaced an engine has set the old one aside.
    for name in {n.removeprefix(".").partition(f"{KEY_SUFFIX}.tmp-")[0] for n in names if f"{KEY_SUFFIX}.tmp-" in n}:
        recover(folder / f"{name}{KEY_SUFFIX}")
    yield from sorted(path for path in folder.iterdir() if path.name.endswith(KEY_SUFFIX) and path.name[0] != ".")
