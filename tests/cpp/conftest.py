"""The C++ runtime, built once for all processes of a test run, and the bundles that its tests open.

What is missing on this machine skips these tests with the reason; with ATTN_REQUIRE_CPP=1 it fails them, for a CI that must not
skip. runtime/cpp/scripts/install_tools.sh and runtime/cpp/scripts/fetch_onnxruntime.sh bring it all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attn_runtime.native import capi
from support.checks.once import alone, once
from support.graphs.cpp_bundles import make_bundles
from support.machines.inputs_library import Library

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "runtime" / "cpp"
FETCHED = ROOT / "build" / "onnxruntime"
BUILD_SECONDS = 1500


def why_no_build() -> str | None:
    """None where the C++ runtime and its tests can be built, else what is missing and what brings it."""
    tools = [tool for tool in ("cmake", "ninja", "g++") if shutil.which(tool) is None]
    headers = [name for name in ("nlohmann/json.hpp", "gtest/gtest.h") if not Path("/usr/include", name).exists()]
    if tools or headers:
        return f"{', '.join(tools + headers)} missing; runtime/cpp/scripts/install_tools.sh installs them"
    if not (FETCHED / "include").exists() and "ONNXRUNTIME_ROOT" not in os.environ:
        return "the headers of ONNX Runtime are missing; runtime/cpp/scripts/fetch_onnxruntime.sh fetches them"
    return None


def onnxruntime_library() -> Path:
    """The library that C++ loads here: the caller's own, the one of this Python, or the one that was fetched."""
    if named := os.environ.get("ATTN_ONNXRUNTIME"):
        return Path(named)
    return capi.onnxruntime_library() or FETCHED / "lib" / "libonnxruntime.so.1"


def build(preset: str, *targets: str) -> Path:
    """Configure and build; incremental, so the second process finds nothing to do. Returns the build folder."""
    folder = ROOT / "build" / "cpp" / preset
    with alone(ROOT / "build" / f"cpp-{preset}.lock"):
        for command in (
            ["cmake", "--preset", preset],
            ["cmake", "--build", str(folder), "--parallel", "2", *(["--target", *targets] if targets else [])],
        ):
            done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=BUILD_SECONDS)
            assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-6000:]}{done.stderr[-3000:]}"
    return folder


@pytest.fixture(scope="session")
def cpp_build() -> Path:
    """The folder of the build that the tests run: libattn_runtime.so, tests/, examples/."""
    if reason := why_no_build():
        if os.environ.get("ATTN_REQUIRE_CPP") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return build("tests")


@pytest.fixture(scope="module")
def generate_tool(cpp_build: Path) -> Callable[..., Any]:
    """A run of attn_generate_tool: what it reads and its arguments -> what it answers."""

    def run(value: Any, *arguments: str | Path) -> Any:
        given = json.dumps(value).encode()
        done = subprocess.run(
            [cpp_build / "tests" / "attn_generate_tool", *arguments], input=given, capture_output=True, timeout=120
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def cpp_bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what tests/support/graphs/cpp_bundles.py makes; once for all processes of a run."""
    return once(tmp_path_factory, "cpp-bundles", make_bundles)


@pytest.fixture(scope="session")
def cpp_environment(cpp_bundles: Path) -> dict[str, str]:
    """What a C++ test is run with."""
    return {**os.environ, "ATTN_TEST_BUNDLES": str(cpp_bundles), "ATTN_ONNXRUNTIME": str(onnxruntime_library())}


@pytest.fixture(scope="module")
def library(cpp_build: Path) -> Library:
    """What makes inputs, of that build."""
    return Library(cpp_build / "libattn_runtime.so")
