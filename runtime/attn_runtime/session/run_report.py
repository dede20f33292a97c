"""What a task says of how it was run: how often, how long, and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


class Chosen(Protocol):
    """A Session or a Generator, with the backend that it chose."""

    @property
    def backend(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def choice(self) -> str: ...
    @property
    def passed_over(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """`calls` says how many batches were run, in `seconds`, the first of the session among them."""

    calls: int
    seconds: float
    backend: str
    device: str
    choice: str
    passed_over: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Of the run itself, for JSON."""
        return {name: getattr(self, name) for name in ("calls", "seconds", "backend", "device", "choice")} | {
            "passed_over": list(self.passed_over)
        }


def ran(chosen: Chosen, calls: int, seconds: float) -> dict[str, Any]:
    """The arguments of a RunReport."""
    return {
        "calls": calls,
        "seconds": seconds,
        "backend": chosen.backend,
        "device": chosen.device,
        "choice": chosen.choice,
        "passed_over": chosen.passed_over,
    }
