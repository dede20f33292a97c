"""The wheels of a deployed folder: attn-runtime, and what it needs for the board's Python."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from attn_runtime.jetson import Release

from .. import DeployFolder, run_command, runtime_wheel

#: What attn-runtime imports, and what runs graphs without a GPU: the C++ library loads that one too.
_NEEDED = ("numpy>=1.23", "safetensors>=0.4.5", "click>=8.1", "onnxruntime>=1.20")


def add_runtime(folder: DeployFolder) -> None:
    """wheels/attn_runtime-VERSION-py3-none-any.whl. StageError where it can't be made."""
    name, content = runtime_wheel()
    folder.add(f"wheels/{name}", content)


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
    run_command(command, f"the wheels for Python {release.python} on aarch64 can't be fetched")


def _named(wheel: Path) -> str:
    return " ".join(wheel.name.split("-")[:2])
