"""What is asked of the driver, against a library that answers as the driver's documentation says: no driver installs here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from attn_runtime.device import gpus

_DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return STATUS; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int number) { *device = 40 + number; return 0; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Test GPU", size); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (attribute != 75 && attribute != 76) return 1;
    if (device == 40) *value = attribute == 75 ? 8 : 9;
    else if (device == 41) *value = attribute == 75 ? 12 : 0;
    else return 101;
    return 0;
}
int cuDriverGetVersion(int *version) { *version = 12090; return 0; }
"""


@pytest.fixture(scope="module")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `good` and `broken` with a libcuda.so.1 each."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("no C compiler here, or no Linux")
    folder = tmp_path_factory.mktemp("drivers")
    (folder / "driver.c").write_text(_DRIVER)
    for name, status in (("good", 0), ("broken", 804)):
        (folder / name).mkdir()
        target = folder / name / "libcuda.so.1"
        command = [compiler, "-shared", "-fPIC", f"-DSTATUS={status}", folder / "driver.c", "-o", target]
        subprocess.run(command, check=True)
    return folder


def ask(driver: Path, question: str) -> str:
    """What a Python of its own answers, which finds the driver in that folder."""
    code = f"from attn_runtime.device import gpus; print({question})"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "LD_LIBRARY_PATH": str(driver)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_capabilities_and_version_come_from_the_driver(drivers: Path) -> None:
    asked = "gpus.compute_capability(), gpus.compute_capability(1), gpus.compute_capability(2), gpus.driver_version()"
    assert ask(drivers / "good", asked) == "8.9 12.0 None 12.9"


def test_a_driver_that_does_not_start_still_has_a_version(drivers: Path) -> None:
    asked = "gpus.compute_capability(), gpus.driver_version(), gpus.find_gpus().names"
    assert ask(drivers / "broken", asked) == "None 12.9 ()"
    assert "804" in ask(drivers / "broken", "gpus.find_gpus().problem")


@pytest.mark.skipif(gpus.find_gpus().problem is None, reason="this machine has a GPU")
def test_without_a_gpu_there_is_no_capability() -> None:
    assert gpus.compute_capability(0) is None
