"""The GoogleTest binaries of runtime/cpp/tests, one test each; what they print is shown when one fails."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

LIST = Path(__file__).parents[2] / "runtime" / "cpp" / "tests" / "CMakeLists.txt"
BINARIES = re.findall(r"^ *attn_(?:user_)?test\((\w+)", LIST.read_text(), re.MULTILINE)


@pytest.mark.timeout(900)  # the first one waits for the build
@pytest.mark.parametrize("binary", BINARIES)
def test_gtest(cpp_build: Path, cpp_environment: dict[str, str], binary: str) -> None:
    done = subprocess.run(
        [cpp_build / "tests" / binary, "--gtest_brief=1"],
        env=cpp_environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-3000:]
    assert "SKIPPED" not in done.stdout, done.stdout  # the bundles are there
    assert re.search(r"PASSED  \] [1-9]", done.stdout), done.stdout
