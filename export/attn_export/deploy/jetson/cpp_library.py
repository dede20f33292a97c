"""The C++ library of a deployed folder, with its header and examples: cross-built for aarch64 where a compiler is there."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attn_runtime
from attn_runtime.errors import StageError
from attn_runtime.jetson import Release

from .. import DeployFolder

_COMPILER, _STRIP, _PRESET = "aarch64-linux-gnu-g++", "aarch64-linux-gnu-strip", "aarch64"
_ELF = b"\x7fELF"
_TIMEOUT_S = 1200
# No path of this machine in what is copied; the examples in bin/ find the library in lib/.
_OPTIONS = (
    "-DATTN_TESTS=OFF", "-DATTN_BENCH=OFF", "-DBUILD_TESTING=OFF", "-DCMAKE_SKIP_BUILD_RPATH=ON",
    "-DCMAKE_EXE_LINKER_FLAGS=-Wl,-rpath,'$ORIGIN/../lib'",
)  # fmt: skip
_GLIBC = re.compile(r"\bGLIBC_(\d+)\.(\d+)")


def add_cpp(folder: DeployFolder, release: Release, wanted: str) -> list[str]:
    """cpp/{include,lib,bin}; notes on what was left out. StageError where `wanted` is "yes" and it can't be built, or
    what was built does not run on the board's libc."""
    if wanted == "no":
        return ["no C++ library, as asked"]
    source = Path(attn_runtime.__file__).resolve().parents[1] / "cpp"
    problem = _missing(source)
    if problem is None:
        # The objects stay in the checkout's build folder: the next deploy compiles what changed.
        with tempfile.TemporaryDirectory() as work, _alone(source.parents[1] / "build/cpp/aarch64-deploy") as build:
            installed = Path(work) / "installed"
            problem = _build(source, build, installed)
            if problem is None and not list(installed.glob("lib*/**/libattn_runtime.so*")):
                problem = "its CMake installs no library"
            if problem is None:
                return _add(folder, installed, release)
    if wanted == "yes":
        raise StageError(f"the C++ library can't be built for aarch64: {problem}")
    return [f"no C++ library: {problem}"]


def _missing(source: Path) -> str | None:
    if not (source / "CMakeLists.txt").is_file():
        return f"its sources are not here ({source}); work from a checkout"
    for command, package in (("cmake", "cmake"), ("ninja", "ninja-build"), (_COMPILER, "g++-aarch64-linux-gnu")):
        if shutil.which(command) is None:
            return f"{command} is not installed; apt-get install {package}"
    return None


@contextmanager
def _alone(build: Path) -> Iterator[Path]:
    """The build folder, to one process at a time."""
    build.mkdir(parents=True, exist_ok=True)
    with (build / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield build


def _build(source: Path, build: Path, installed: Path) -> str | None:
    """Configure, build and install into `installed`; the reason where that fails."""
    for command in (
        ["cmake", "--preset", _PRESET, "-B", str(build), *_OPTIONS],
        ["cmake", "--build", str(build), "--parallel", "2"],
        ["cmake", "--install", str(build), "--prefix", str(installed), "--strip"],
    ):
        try:
            done = subprocess.run(
                command, cwd=source, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return " ".join(str(error).split())[:300]
        if done.returncode:
            said = [line.strip() for line in (done.stdout + done.stderr).splitlines()]
            told = [line for line in said if "error" in line.lower() or "missing" in line] or said[-1:]
            return (
                f"{' '.join(command[:2])} failed: {' '.join(told[0].split())[:300] if told else 'it does not say why'}"
            )
    (installed / "bin").mkdir(exist_ok=True)
    for program in sorted(path for path in (build / "examples").glob("*") if _is_program(path)):
        shutil.copy(program, installed / "bin")
        subprocess.run([_STRIP, installed / "bin" / program.name], check=False)
    return None


def _is_program(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_mode & 0o100:
        return False
    with path.open("rb") as file:
        return file.read(4) == _ELF


def _add(folder: DeployFolder, installed: Path, release: Release) -> list[str]:
    """Copy what was installed; links become what they lead to, since not every way to the board keeps them."""
    files = [path for path in sorted(installed.rglob("*")) if path.is_file()]
    newest = max((needed_glibc(path.read_bytes()) for path in files), default=(0, 0))
    if newest > tuple(map(int, release.glibc.split("."))):
        raise StageError(
            f"the C++ library built here needs glibc {newest[0]}.{newest[1]}, JetPack {release.version} has {release.glibc}; "
            "build it with an older cross compiler, or deploy with --cpp no"
        )
    for path in files:
        relative = f"cpp/{path.relative_to(installed).as_posix()}"
        folder.add_file(relative, path)
        folder.place(relative).chmod(path.stat().st_mode & 0o777)
    programs = sum(path.parent.name == "bin" for path in files)
    return [
        f"C++ library and {programs} examples for aarch64, built by {_COMPILER}; they need glibc {newest[0]}.{newest[1]}"
    ]


def needed_glibc(data: bytes) -> tuple[int, int]:
    """The newest version of glibc that an ELF file names; (0, 0) for none, and for any other file."""
    if not data.startswith(_ELF):
        return 0, 0
    found = _GLIBC.findall(data.decode("latin-1"))
    return max(((int(major), int(minor)) for major, minor in found), default=(0, 0))
