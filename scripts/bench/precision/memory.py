"""How much memory a command takes, with all processes that it starts."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_INTERVAL_S = 0.1


@dataclass(frozen=True)
class Held:
    """Bytes that processes hold together, with a page that several of them map divided between them (Linux's PSS).

    pages   all of them, mapped files included: a page of a library or of mapped weights counts once
    own     those of no file, which nothing but their end gives back
    """

    pages: int = 0
    own: int = 0

    def with_(self, other: Held) -> Held:
        return Held(self.pages + other.pages, self.own + other.own)

    def or_more(self, other: Held) -> Held:
        return Held(max(self.pages, other.pages), max(self.own, other.own))


def peak_of(command: Sequence[str]) -> tuple[int, Held, str]:
    """(exit code, most memory of the process and all below it at one time, what it wrote to stderr).

    Looked at ten times a second. The peak of what they own may be at another time than that of all pages.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak, ended = Held(), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(_INTERVAL_S):
            peak = peak.or_more(held(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        _, said = process.communicate()
    finally:
        ended.set()
        watcher.join()
    return process.returncode, peak, said


def held(pid: int) -> Held:
    """By a process and those below it now; nothing by one that is gone."""
    total = Held()
    with suppress(OSError):
        rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
        pages, own = (int(rows[name].split()[0]) * 1024 for name in ("Pss", "Pss_Anon"))
        total = Held(pages, own)
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(OSError):
                for child in (task / "children").read_text().split():
                    total = total.with_(held(int(child)))
    return total
