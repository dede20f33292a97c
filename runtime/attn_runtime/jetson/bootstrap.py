"""What setup.sh starts, out of the wheel itself and by the board's own Python: unpack the wheels that the board lacks, and go on.

The standard library alone: nothing is installed yet. No pip either, which JetPack has not; a wheel is a zip file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import NoReturn

from .. import escape, files

#: Where the wheels are unpacked, in the deployed folder; a folder each, deletable.
UNPACKED = "python"
_NEEDED = (3, 10)
# What a wheel brings -> the module that tells whether the board has it. Others are unpacked always.
_MODULES = {
    "numpy": "numpy",
    "safetensors": "safetensors",
    "click": "click",
    "onnxruntime": "onnxruntime",
    "cuda_python": "cuda.bindings",
    "cuda_bindings": "cuda.bindings",
    "cuda_core": "cuda.core",
    "cuda_pathfinder": "cuda.pathfinder",
    "tokenizers": "tokenizers",
}
_REQUIRED = {"numpy": "numpy", "safetensors": "safetensors", "click": "click"}


def main() -> NoReturn:
    """`main` of the program that setup.sh starts, with the folder and the options of attn-run setup as its arguments."""
    folder = Path(sys.argv[1]).resolve()
    if sys.version_info < _NEEDED:
        _fail(
            f"this is Python {platform.python_version()}, attn-runtime needs 3.10 or newer: PYTHON=python3.10 ./setup.sh"
        )
    if os.pathsep in str(folder):
        _fail(f"{folder}: Python finds no modules below a path with {os.pathsep!r} in it; rename the folder")
    paths = [str(path) for path in _unpacked(folder)]
    paths += [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path and not path.endswith(".whl")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    # Not `-m`: that would look for every module in the current folder first.
    go_on = "import sys; sys.path[:] = filter(None, sys.path); from attn_runtime.cli.app import main; main()"
    sys.stdout.flush()
    os.execve(sys.executable, [sys.executable, "-c", go_on, "setup", str(folder), *sys.argv[2:]], environment)


def _unpacked(folder: Path) -> list[Path]:
    """Folders for PYTHONPATH: attn-runtime, and what else the wheels bring that this Python lacks."""
    try:
        listed = json.loads(_read(folder / "deploy.json"))["files"]
        wheels = {name: digest for name, digest in listed.items() if name.startswith("wheels/")}
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        _fail(f"{folder}/deploy.json can't be read ({' '.join(str(error).split())}); copy the whole folder again")
    found, lacking = [], set(_REQUIRED)
    for name in sorted(wheels):
        if not re.fullmatch(r"wheels/\w[\w.+]*(-\w[\w.+]*){4,5}\.whl", name):
            _fail(f"{folder}/deploy.json lists {name!r}, which is no wheel; copy the whole folder to the board again")
        wheel = folder / name
        what = wheel.name.partition("-")[0].lower()
        lacking.discard(what)
        if what != "attn_runtime" and (_has(_MODULES.get(what, "")) or not _fits(wheel.name)):
            if not _has(_MODULES.get(what, "")):
                lacking.add(what)
            continue
        found.append(_unpack(wheel, wheels[name], folder / UNPACKED / wheel.name[: -len(".whl")]))
    if not any(path.name.startswith("attn_runtime-") for path in found):
        _fail(f"{folder}/deploy.json lists no wheel of attn_runtime; copy the whole folder to the board again")
    lacking = {what for what in lacking & set(_REQUIRED) if not _has(_REQUIRED[what])}
    if lacking:
        _fail(
            f"this Python ({sys.executable}, {platform.python_version()}) has no {', '.join(sorted(lacking))}, and the folder no "
            f"wheels of them that fit: deploy again with --wheels, or on a board with network: "
            f"{sys.executable} -m pip install {' '.join(sorted(lacking))}"
        )
    return found


def _has(module: str) -> bool:
    try:
        return bool(module) and importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _fits(wheel: str) -> bool:
    """Whether a wheel of that name is for this Python and processor: NAME-VERSION[-BUILD]-PYTHON-ABI-PLATFORM.whl."""
    python, abi, where = wheel[: -len(".whl")].split("-")[-3:]
    here = f"cp{sys.version_info.major}{sys.version_info.minor}"
    right = any(
        tag.startswith("py3")
        or tag == here
        or (abi == "abi3" and tag.startswith("cp3") and int(tag[3:] or 0) <= sys.version_info.minor)
        for tag in python.split(".")
    )
    return right and (where == "any" or any(tag.endswith(f"_{platform.machine()}") for tag in where.split(".")))


def _unpack(wheel: Path, digest: str, target: Path) -> Path:
    """Unpack into `target`, whole or not at all; what is there is of this very wheel, or goes."""
    try:
        data = _read(wheel)
        if hashlib.sha256(data).hexdigest() != digest:
            _fail(f"{wheel.name} was changed or cut short; copy the folder to the board again")
        mark = target / ".sha256"
        if mark.is_file() and mark.read_text() == digest:
            return target
        target.parent.mkdir(exist_ok=True)
        for left in target.parent.glob(f".{target.name}.*"):  # of a run that was killed
            shutil.rmtree(left, ignore_errors=True)
        fresh = target.parent / f".{target.name}.{os.getpid()}"  # not of mkdtemp, which makes it for its owner alone
        fresh.mkdir()
        with zipfile.ZipFile(wheel) as packed:
            for name in packed.namelist():
                if name.startswith("/") or ".." in re.split(r"[/\\]", name):
                    _fail(f"{wheel.name} holds the path {name!r}, which leads out of it; deploy again")
            packed.extractall(fresh)
        (fresh / ".sha256").write_text(digest)
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    except (OSError, zipfile.BadZipFile) as error:
        _fail(f"{wheel.name} can't be unpacked in {target.parent}: {' '.join(str(error).split())}")
    return target


def _read(path: Path) -> bytes:
    with files.open_regular(path) as f:
        return f.read()


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"error: {escape.message(message)}\n")
    raise SystemExit(11)
