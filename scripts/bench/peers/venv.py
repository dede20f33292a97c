"""Venvs that peers run in: what they pin is not what this repository is tested with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def peer_python(venv: Path, packages: Sequence[str]) -> Path:
    """The Python of a venv with these packages, made where it is missing. RuntimeError says why there is none."""
    python, ready = venv / "bin" / "python", venv / ".installed"
    wanted = "\n".join(packages)
    if python.exists() and ready.exists() and ready.read_text() == wanted:
        return python
    pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
    for command in ([sys.executable, "-m", "venv", str(venv)], pip):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise RuntimeError(f"{' '.join(command[1:4])}...: {''.join(last) or f'exit code {done.returncode}'}")
    ready.write_text(wanted)
    return python
