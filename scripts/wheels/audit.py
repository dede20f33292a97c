"""What auditwheel says of a wheel."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def checked(wheel: Path, platform: str) -> Path:
    """`wheel`, where auditwheel finds that it runs wherever its name says; else the program ends with what it said."""
    done = subprocess.run([sys.executable, "-m", "auditwheel", "show", str(wheel)], capture_output=True, text=True)
    found = re.search(r'following\s+platform\s+tag:\s+"(\w+)"', done.stdout)
    if done.returncode or not found or _glibc(found[1]) > _glibc(platform):
        sys.exit(f"error: {wheel.name}: auditwheel does not call it {platform}\n{done.stdout}{done.stderr}")
    return wheel


def _glibc(platform: str) -> tuple[int, ...]:
    """(2, 28) of manylinux_2_28_x86_64."""
    numbers = re.match(r"manylinux_(\d+)_(\d+)_", platform)
    return tuple(map(int, numbers.groups())) if numbers else (99,)
