"""How much memory a command takes, with all processes that it starts."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_INTERVAL_S = 0.1


def peak_of(command: Sequence[str]) -> tuple[int, int, str]:
    """(exit code, most bytes of resident memory of the process and all below it at one time, what it wrote to stderr).

    Looked at ten times a second. Pages that several of them share count for each.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(_INTERVAL_S):
            peak = max(peak, resident(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, said = process.communicate()
    finally:
        ended.set()
        watcher.join()
    return process.returncode, peak, said


def resident(pid: int) -> int:
    """Bytes of a process and those below it now; 0 of one that is gone."""
    total = 0
    with suppress(OSError, ValueError):
        status = Path(f"/proc/{pid}/status").read_text()
        total = next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:")), 0)
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                total += sum(resident(int(child)) for child in (task / "children").read_text().split())
    return total
