"""A Jetson as far as a program can tell: the files it looks at, a driver with one GPU, TensorRT and cuda-python as stand-ins, and
a Python that has what attn-runtime needs and nothing else."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

_DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int number) { *device = number; return number ? 101 : 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Orin", size); return 0; }
int cuDeviceGetPCIBusId(char *text, int size, int device) { strncpy(text, "0000:00:00.0", size); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (attribute != 75 && attribute != 76) return 1;
    *value = attribute == 75 ? CAPABILITY / 10 : CAPABILITY % 10;
    return 0;
}
int cuDriverGetVersion(int *version) { *version = 12060; return 0; }
"""
_STATUS = """Package: nvidia-jetpack
Status: install ok installed
Version: {jetpack}+b1
"""
# What a board's Python has of PyPI: attn-runtime's own needs, and ONNX Runtime, which the stand-in computes with.
_PACKAGES = ("numpy", "safetensors", "click", "onnxruntime", "google", "flatbuffers", "packaging", "sympy", "mpmath",
             "coloredlogs", "humanfriendly", "tokenizers")  # fmt: skip
STAND_INS = Path(__file__).parent / "board"


@dataclass
class FakeBoard:
    """`run` starts setup.sh there; `environment` may be changed before."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def run(self, folder: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [folder / "setup.sh", *options],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            cwd=self.root,
        )

    def start(self, folder: Path, *options: str, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [folder / "setup.sh", *options], env={**self.environment, **more}, cwd=self.root, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def builds(self) -> list[dict[str, Any]]:
        """What TensorRT was asked to build, in order."""
        log = Path(self.environment["FAKE_TRT_LOG"])
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def set_memory(self, free_mib: int) -> None:
        (self.root / "proc/meminfo").write_text(
            f"MemTotal: 15900000 kB\nMemFree: 1000 kB\nMemAvailable: {free_mib * 1024} kB\n"
        )


def make_board(
    folder: Path, model: str = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super", jetpack: str = "6.2",
    l4t: tuple[str, str] = ("36", "4.3"), tensorrt: str = "10.3.0", capability: int = 87,
) -> FakeBoard:  # fmt: skip
    """Skips the test where no C compiler is there, which the driver takes."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler here, or no Linux")
    root = folder / "board"
    for name, text in {
        "etc/nv_tegra_release": f"# R{l4t[0]} (release), REVISION: {l4t[1]}, GCID: 1, BOARD: generic, EABI: aarch64\n",
        "var/lib/dpkg/status": _STATUS.format(jetpack=jetpack),
        "proc/device-tree/model": f"{model}\0",
        "driver/driver.c": _DRIVER,
        "bin/nvpmodel": "#!/bin/sh\necho 'NV Power Mode: MAXN_SUPER'\necho 2\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "bin/nvpmodel").chmod(0o755)
    driver = root / "driver/libcuda.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", f"-DCAPABILITY={capability}", root / "driver/driver.c", "-o", driver], check=True
    )
    site = root / "site"
    site.mkdir()
    for name in _PACKAGES:
        _link(name, site)
    environment = {
        "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
        "HOME": str(root),
        "PYTHON": getattr(sys, "_base_executable", sys.executable),
        "PYTHONPATH": f"{STAND_INS}:{site}",
        "PYTHONNOUSERSITE": "1",
        "LD_LIBRARY_PATH": str(driver.parent),
        "ATTN_HOST_ROOT": str(root),
        "OMP_NUM_THREADS": "1",
        "FAKE_TRT_VERSION": tensorrt,
        "FAKE_TRT_LOG": str(root / "builds"),
    }
    board = FakeBoard(root, environment)
    board.set_memory(9000)
    return board


def _link(name: str, site: Path) -> None:
    """A package of this Python's, and the libraries that its wheel keeps beside it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return
    package = Path(next(iter(spec.submodule_search_locations)))
    for path in (package, package.parent / f"{name}.libs", *package.parent.glob(f"{name}-*.dist-info")):
        if path.exists():
            (site / path.name).symlink_to(path)
