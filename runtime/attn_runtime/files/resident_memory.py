"""The peak of this process's resident memory, since a moment where the kernel allows, else since its start."""

from __future__ import annotations

import sys
from pathlib import Path


def reset_peak_memory() -> str:
    """Set the peak back to what is resident now, where the kernel has that. Returns what `peak_memory` is to read."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        _high_water_mark()
    except (OSError, StopIteration):
        return "" if sys.platform == "win32" else "ru_maxrss"
    return "VmHWM"


def peak_memory(source: str) -> int:
    """Bytes: "VmHWM" since the reset, "ru_maxrss" since the process began; 0 for "", which is a platform without."""
    if source == "VmHWM":
        return _high_water_mark()
    if sys.platform == "win32" or not source:
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _high_water_mark() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
