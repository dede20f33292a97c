"""The wheel of attn-runtime: for any machine, or for one kind with the C++ library inside."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import attn_runtime
from attn_runtime.errors import StageError

_TIMEOUT_S = 600
#: Fixed times of files, so that the same sources give the same bytes.
_EPOCH = {"SOURCE_DATE_EPOCH": "315532800"}
#: What a wheel with a library of one platform is: no matter which Python, but no longer for any machine.
_NATIVE_SETUP = """
import os
from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

class Native(Distribution):
    def has_ext_modules(self):
        return True

class Wheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", os.environ["ATTN_WHEEL_PLATFORM"]

class Build(build_py):
    def finalize_options(self):
        super().finalize_options()
        self.package_data = {**self.package_data, "attn_runtime": [*self.package_data["attn_runtime"], "lib/*.so"]}

setup(distclass=Native, cmdclass={"bdist_wheel": Wheel, "build_py": Build})
"""


@lru_cache(maxsize=1)
def runtime_wheel() -> tuple[str, bytes]:
    """The name and the bytes of the wheel for any machine, of this process's attn-runtime: from its sources, or as it was
    installed. Raises StageError where it can't be made."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(attn_runtime.__file__).resolve().parents[1]
        if (folder / "pyproject.toml").is_file():
            wheel = build_runtime_wheel(folder, Path(work))
        else:
            wheel = repack(metadata.distribution("attn-runtime"), Path(work))
        return wheel.name, wheel.read_bytes()


def build_runtime_wheel(source: Path, made: Path, library: Path | None = None, platform: str = "any") -> Path:
    """Write attn_runtime-VERSION-py3-none-PLATFORM.whl into the folder `made`, and return its path.

    `source` is the folder of its pyproject.toml. `library` goes into it as attn_runtime/lib/libattn_runtime.so; `platform` is
    then the tag of what runs it, such as manylinux_2_28_x86_64. Raises StageError where setuptools can't build it.
    """
    with tempfile.TemporaryDirectory() as work:
        # A copy, since building leaves its own folders beside the sources. The C++ sources are no part of the wheel.
        copy = Path(work) / "runtime"
        copy.mkdir()
        for name in ("pyproject.toml", "README.md", "LICENSE", "THIRD_PARTY_LICENSES"):
            shutil.copy(source / name, copy)
        ignored = shutil.ignore_patterns("__pycache__", "lib")
        shutil.copytree(source / "attn_runtime", copy / "attn_runtime", ignore=ignored)
        if library:
            (copy / "attn_runtime" / "lib").mkdir()
            shutil.copy(library, copy / "attn_runtime" / "lib" / "libattn_runtime.so")
            (copy / "setup.py").write_text(_NATIVE_SETUP)
        return build_wheel(copy, made, {"ATTN_WHEEL_PLATFORM": platform})


def repack(installed: metadata.Distribution, made: Path) -> Path:
    """The wheel that pip installed, again: its package and what its .dist-info had before pip added to it.

    The format is that of packaging.python.org/specifications/binary-distribution-format.
    """
    listed = sorted(str(path) for path in installed.files or ())
    info = next((name.partition("/")[0] for name in listed if name.endswith(".dist-info/METADATA")), None)
    files = [
        name
        for name in listed
        if (name.startswith("attn_runtime/") and "__pycache__" not in name and not name.startswith("attn_runtime/lib/"))
        or name in {f"{info}/{kept}" for kept in ("METADATA", "WHEEL", "entry_points.txt", "top_level.txt")}
        or name.startswith(f"{info}/licenses/")
    ]
    if info is None or "attn_runtime/__init__.py" not in files:
        raise StageError(
            "the files of attn-runtime are not listed where it is installed, so its wheel can't be made; install it from "
            "a checkout: pip install ./runtime"
        )
    record = ""
    path = made / f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name in files:
            data = Path(str(installed.locate_file(name))).read_bytes()
            if name.endswith("/WHEEL"):  # of a wheel with the C++ library, which is left out
                data = re.sub(rb"(?m)^Tag: .*$", b"Tag: py3-none-any", data).replace(
                    b"-Purelib: false", b"-Purelib: true"
                )
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            record += f"{name},sha256={digest},{len(data)}\n"
            wheel.writestr(zipfile.ZipInfo(name), data)  # of 1980: the same files give the same bytes
        wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), record + f"{info}/RECORD,,\n")
    return path


def build_wheel(folder: Path, made: Path, environment: Mapping[str, str] | None = None) -> Path:
    """The wheel of the project in `folder`, by setuptools, which leaves its own folders there. Raises StageError."""
    # setuptools itself: pip would want a network for a build environment.
    code = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(made.resolve())]
    said = run_command(command, "the wheel can't be built", folder, {**os.environ, **_EPOCH, **(environment or {})})
    return made / said.split()[-1]


def run_command(
    command: list[str], problem: str, folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """What it prints. StageError with `problem` and why."""
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
    return done.stdout
