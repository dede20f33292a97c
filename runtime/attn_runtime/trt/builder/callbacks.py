"""What the library calls back while it builds: its logger and its progress monitor.

Their base classes exist only once the library is imported, so the classes are made in functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

#: Where a build is: nested phases, outermost first, as (name, steps done, steps in all).
Phases = Sequence[tuple[str, int, int]]


def make_logger(trt: Any) -> Any:
    """A logger that keeps `messages`, and of those the `errors` and `warnings`, one line each."""

    class Log(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.messages: list[str] = []
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            self.messages.append(message)
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(" ".join(message.split()))
            elif severity == trt.ILogger.WARNING:
                self.warnings.append(" ".join(message.split()))

    return Log()


def make_monitor(trt: Any, tell: Callable[[Phases], bool]) -> Any:
    """A progress monitor that calls `tell` at every step; its False cancels the build."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.phases: list[tuple[str, int, int]] = []

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self.phases.append((phase, 0, steps))

        def step_complete(self, phase: str, step: int) -> bool:
            phases = self.phases
            for number, (name, _, steps) in enumerate(phases):
                if name == phase:
                    phases[number] = (name, step + 1, steps)
            return tell(tuple(phases))

        def phase_finish(self, phase: str) -> None:
            self.phases[:] = [p for p in self.phases if p[0] != phase]

    return Monitor()
