"""torchvision whose compiled library can't be loaded is imported all the same, and only for that reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: As torchvision 0.28 does without its library: torch is told of an operator that nobody has declared.
HALF = """
import torch
@torch.library.register_fake("torchvision::{operator}")
def meta(*given): ...
"""
ASK = """
from attn_export.torchvision_import import ready_torchvision
import sys
for _ in range(2):
    try:
        print(ready_torchvision(), "torchvision" in sys.modules)
    except Exception as problem:
        print(type(problem).__name__, problem)
"""


def asked(folder: Path, text: str) -> list[str]:
    (folder / "torchvision").mkdir()
    (folder / "torchvision" / "__init__.py").write_text(text)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_its_library(tmp_path: Path) -> None:
    assert asked(tmp_path, HALF.format(operator="nms")) == ["True True"] * 2


def test_what_else_is_wrong_is_told(tmp_path: Path) -> None:
    told = asked(tmp_path, "raise RuntimeError('of another kind')")
    assert told == ["RuntimeError of another kind"] * 2
