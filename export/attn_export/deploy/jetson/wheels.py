"""The wheels of a deployed folder: attn-runtime, from its sources or as installed, and what it needs for the board's Python."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import attn_runtime
from attn_runtime.errors import StageError
from attn_runtime.jetson import Release

from .. import DeployFolder

#: What attn-runtime imports, and what runs graphs without a GPU: the C++ library loads that one too.
_NEEDED = ("numpy>=1.23", "safetensors>=0.4.5", "click>=8.1", "onnxruntime>=1.20")
_TIMEOUT_S = 600


def add_runtime(folder: DeployFolder) -> None:
    """wheels/attn_runtime-VERSION-py3-none-any.whl. StageError where it can't be made."""
    source = Path(attn_runtime.__file__).resolve().parents[1]
    with tempfile.TemporaryDirectory() as work:
        made = Path(work) / "made"
        made.mkdir()
        if (source / "pyproject.toml").is_file():
            _build(source, Path(work) / "runtime", made)
        else:
            repack(metadata.distribution("attn-runtime"), made)
        for wheel in made.glob("*.whl"):
            folder.add_file(f"wheels/{wheel.name}", wheel)


def _build(source: Path, copy: Path, made: Path) -> None:
    # A copy, since building leaves its own folders beside the sources. The C++ sources are no part of the wheel.
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(source / name, copy)
    shutil.copytree(source / "attn_runtime", copy / "attn_runtime", ignore=shutil.ignore_patterns("__pycache__", "lib"))
    # setuptools itself: pip would want a network for a build environment.
    code = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    # A zip file holds times: fixed ones, so that the same sources give the same bytes.
    epoch = {**os.environ, "SOURCE_DATE_EPOCH": "315532800"}
    _run([sys.executable, "-c", code, str(made)], "the wheel of attn-runtime can't be built", copy, epoch)


def repack(installed: metadata.Distribution, made: Path) -> None:
    """The wheel that pip installed, again: its package and what its .dist-info had before pip added to it.

    The format is that of packaging.python.org/specifications/binary-distribution-format.
    """
    listed = sorted(str(path) for path in installed.files or ())
    info = next((name.partition("/")[0] for name in listed if name.endswith(".dist-info/METADATA")), None)
    files = [
        name
        for name in listed
        if (name.startswith("attn_runtime/") and "__pycache__" not in name and not name.startswith("attn_runtime/lib/"))
        or name
        in {f"{info}/{kept}" for kept in ("METADATA", "WHEEL", "entry_points.txt", "top_level.txt", "licenses/LICENSE")}
    ]
    if info is None or "attn_runtime/__init__.py" not in files:
        raise StageError(
            "the files of attn-runtime are not listed where it is installed, so its wheel can't be made; install it from "
            "a checkout: pip install ./runtime"
        )
    record = ""
    with zipfile.ZipFile(
        made / f"{info.removesuffix('.dist-info')}-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED
    ) as wheel:
        for name in files:
            data = Path(str(installed.locate_file(name))).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
            wheel.writestr(zipfile.ZipInfo(name), data)  # of 1980: the same files give the same bytes
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), record + f"{info}/RECORD,,\n")


def add_wheels(folder: DeployFolder, release: Release) -> list[str]:
    """wheels/*.whl of what attn-runtime needs, for the board's Python, processor and libc; notes on them."""
    with tempfile.TemporaryDirectory() as work:
        _download(work, release, [*_NEEDED, f"cuda-python=={_cuda_python(release)}.*"])
        wheels = sorted(Path(work).glob("*.whl"))
        for wheel in wheels:
            folder.add_file(f"wheels/{wheel.name}", wheel)
    return [f"wheels for Python {release.python} on aarch64: {', '.join(_named(wheel) for wheel in wheels)}"]


def _cuda_python(release: Release) -> str:
    """Of the board's own CUDA; 12.6 is the first that attn-runtime can use, and runs with a driver for 12.2."""
    return max(release.cuda, "12.6", key=lambda version: [*map(int, version.split("."))])


def _download(target: str, release: Release, what: list[str]) -> None:
    minor = int(release.glibc.partition(".")[2])
    # pip takes each tag by its word: a newer libc runs what was built for an older one.
    tags = [f"manylinux_2_{number}_aarch64" for number in range(minor, 16, -1)] + ["manylinux2014_aarch64"]
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--only-binary=:all:"]
    command += [word for tag in tags for word in ("--platform", tag)]
    command += ["--python-version", release.python, "--implementation", "cp", "-d", target, *what]
    _run(command, f"the wheels for Python {release.python} on aarch64 can't be fetched")


def _named(wheel: Path) -> str:
    return " ".join(wheel.name.split("-")[:2])


def _run(
    command: list[str], problem: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise StageError(f"{problem}: {' '.join(str(error).split())[:300]}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        told = next((line for line in reversed(said) if "ERROR" in line), said[-1] if said else "it does not say why")
        raise StageError(f"{problem}: {' '.join(told.split())[:300]}")
