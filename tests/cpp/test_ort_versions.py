"""The same sessions over other versions of ONNX Runtime than the headers are of: those in build/onnxruntime/versions.

`runtime/cpp/scripts/fetch_onnxruntime.sh --version 1.20.1` puts one there.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "build" / "onnxruntime" / "versions"
LIBRARIES = sorted(FOLDER.glob("*/libonnxruntime.so.1"))


@pytest.mark.skipif(
    not LIBRARIES, reason="no other version here; runtime/cpp/scripts/fetch_onnxruntime.sh --version 1.20.1 fetches one"
)
@pytest.mark.timeout(900)
@pytest.mark.parametrize("library", LIBRARIES, ids=lambda path: path.parent.name)
def test_another_version(cpp_build: Path, cpp_environment: dict[str, str], library: Path) -> None:
    # Not the answers of Python's version bit for bit: kernels differ from one to the next.
    done = subprocess.run(
        [
            cpp_build / "tests" / "attn_test_session",
            "--gtest_brief=1",
            "--gtest_filter=-*AnswerExactlyWhatPythonAnswers",
        ],
        env={**cpp_environment, "ATTN_ONNXRUNTIME": str(library)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-3000:]
    assert "SKIPPED" not in done.stdout
