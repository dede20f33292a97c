"""The C++ readers under libFuzzer, ASan and UBSan, from the kept corpus: 6 seconds, or ATTN_FUZZ_SECONDS."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLANG = shutil.which("clang++") or next(iter(sorted(map(str, Path("/usr/bin").glob("clang++-*")))), None)


@pytest.mark.skipif(
    CLANG is None, reason="no clang++, whose libFuzzer this needs: apt-get install clang libclang-rt-dev"
)
@pytest.mark.timeout(600)
def test_fuzzing_finds_nothing() -> None:
    seconds = os.environ.get("ATTN_FUZZ_SECONDS", "6")
    done = subprocess.run([ROOT / "scripts" / "fuzz_cpp.sh", seconds], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]
    targets = [folder.name for folder in (ROOT / "runtime" / "cpp" / "fuzz" / "corpus").iterdir()]
    assert done.stdout.count("DONE") == len(targets), done.stdout
