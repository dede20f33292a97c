"""Which engines of a bundle Triton's TensorRT backend can load: those of the server library, of this very graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from attn_runtime.bundle import Bundle
from attn_runtime.errors import BackendError, EngineError
from attn_runtime.trt import (
    ENGINES,
    KEY_SUFFIX,
    EngineFile,
    EngineKey,
    Machine,
    Wanted,
    build_command,
    bundle_digest,
    mismatch_text,
    mismatches,
    read_key,
    read_plan,
)


@dataclass(frozen=True)
class Plans:
    """Engines of one graph: compute capability -> file name, and file name -> content.

    profiles  of all of them; a server takes one number of profiles for a model
    most      the largest batch that all of them take
    version   of TensorRT, which must be the server's
    """

    names: Mapping[str, str]
    contents: Mapping[str, bytes]
    profiles: int
    most: int
    version: str


def find_plans(bundle: Bundle, graph: str, precision: str) -> Plans:
    """The engines of `graph` in that precision.

    Raises BackendError where there is none for a server, with what was found instead.
    """
    fitting, others = _sorted_out(bundle, graph, precision)
    command = build_command(bundle.path, precision, graph if len(bundle.graphs) > 1 else None)
    where = f"{bundle.label(bundle.graphs[graph])}, precision {precision}"
    if not fitting:
        told = f"; {'; '.join(others)}" if others else ""
        raise BackendError(
            f"{where}: no engine that Triton loads{told}. Build one with the server's TensorRT: {command} --backend tensorrt; or "
            "deploy --format onnx"
        )
    versions = sorted({engine.key.version for engine in fitting})
    profiles = {len(engine.key.profiles) for engine in fitting}
    if len(versions) > 1 or len(profiles) > 1:
        raise BackendError(
            f"{where}: its engines are of TensorRT {' and '.join(versions)} and have "
            f"{' and '.join(map(str, sorted(profiles)))} profiles; one server takes one: remove the others from {ENGINES}/"
        )
    # An engine for one kind of GPU is built for it the more: it comes last, and wins.
    names: dict[str, str] = {}
    contents: dict[str, bytes] = {}
    for engine in sorted(fitting, key=lambda e: (-len(e.key.compute_capabilities), e.path.name)):
        file = f"model.sm{engine.key.compute_capabilities[0].replace('.', '')}.plan"
        file = file if file not in contents else f"model.{len(contents)}.plan"
        contents[file] = read_plan(engine)
        names |= dict.fromkeys(engine.key.compute_capabilities, file)
    used = {file: contents[file] for file in dict.fromkeys(names.values())}
    return Plans(names, used, profiles.pop(), min(_most(engine.key) for engine in fitting), versions[0])


def _most(key: EngineKey) -> int:
    return max(shapes[2][0] if shapes[2] else 0 for one in key.profiles for shapes in one.values())


def _sorted_out(bundle: Bundle, graph: str, precision: str) -> tuple[list[EngineFile], list[str]]:
    """Engines that a server loads, and why not the others of this graph and precision."""
    found = bundle.graphs[graph]
    files = dict([found.precision_for(precision, "tensorrt"), (precision, found.precisions[precision])])
    fitting: list[EngineFile] = []
    others: list[str] = []
    for path in _keys(bundle.folder):
        try:
            key = read_key(path)
        except EngineError as error:
            others.append(str(error))
            continue
        if key.graph != graph or key.precision not in files:
            continue
        name = path.name.removesuffix(".json")
        entry = files[key.precision]
        # The GPU and the library are the server's, not this machine's: only what the engine is of can be checked here.
        machine = Machine({key.flavour: key.version}, None, key.os)
        wrong = mismatches(key, Wanted(bundle_digest(bundle, entry), graph, key.precision, entry.type, machine))
        if wrong:
            others.append(f"{name} differs in {mismatch_text(wrong)}")
        elif key.flavour != "tensorrt":
            others.append(f"{name} is of flavour {key.flavour}, for RTX cards and not for servers")
        elif not key.os.startswith("linux-"):
            others.append(f"{name} is for {key.os}, Triton runs on Linux")
        else:
            fitting.append(EngineFile(path.with_name(name), key))
    return fitting, others


def _keys(bundle: Path) -> list[Path]:
    folder = bundle / ENGINES
    if not folder.is_dir():
        return []
    if not folder.resolve().is_relative_to(bundle.resolve()):
        raise EngineError(f"bundle {bundle.name}: {ENGINES} is a link out of the bundle; remove it")
    return sorted(path for path in folder.iterdir() if path.name.endswith(KEY_SUFFIX) and path.name[0] != ".")
