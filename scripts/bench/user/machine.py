"""The machine that is measured: made busy, and how fast it reads memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

_SPINS = "print(flush=True)\nwhile True: pass"


def cores() -> int:
    """That this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def busy(processes: int | None = None) -> Iterator[None]:
    """Processes of this priority that spin, on whatever core the system puts them: half as many as there are cores."""
    command = [sys.executable, "-S", "-c", _SPINS]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(processes or max(1, cores() // 2))]
    try:
        for process in started:
            assert process.stdout is not None
            process.stdout.readline()
        time.sleep(0.05)
        yield
    finally:
        for process in started:
            process.kill()
            process.communicate()


def bytes_a_second(size: int, threads: int, rounds: int = 7) -> float:
    """The best rate at which `threads` read `size` bytes again and again, as a step reads its weights. What fits into a cache is
    read from there, as weights that fit are."""
    parts = np.array_split(np.ones(max(size // 4, 1024), np.float32), threads)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(rounds):
            started = time.perf_counter()
            # A dot product of a part with itself reads it once, by all means that the processor has, and lets other threads run.
            list(pool.map(lambda part: float(np.dot(part, part)), parts))
            best = min(best, time.perf_counter() - started)
    return sum(part.nbytes for part in parts) / best
