"""How far a build is and how long it will take, from the nested phases that the library tells of."""

from __future__ import annotations

from dataclasses import dataclass

from .callbacks import Phases

#: No estimate from less than this: the first phases are over in milliseconds, and the last takes the time.
_LEAST_SECONDS, _LEAST_FRACTION = 2.0, 0.1
#: How much of the last estimate of the whole time stays in the next one.
_INERTIA = 0.8


@dataclass(frozen=True)
class BuildProgress:
    """phase     the innermost phase's name
    fraction  done, 0..1, never falling
    elapsed   seconds since the build began
    remaining seconds, None while nothing sound can be said
    """

    phase: str
    fraction: float
    elapsed: float
    remaining: float | None

    def __str__(self) -> str:
        left = "" if self.remaining is None else f", about {seconds_text(self.remaining)} left"
        return f"{self.fraction:4.0%} {self.phase} ({seconds_text(self.elapsed)}{left})"


class Estimate:
    """Turns phases into progress; `update` is called with the seconds since the build began."""

    def __init__(self) -> None:
        self._fraction = 0.0
        self._moved = 0.0
        self._whole: float | None = None

    def update(self, phases: Phases, elapsed: float) -> BuildProgress:
        fraction = fraction_done(phases)
        if fraction > self._fraction:
            self._fraction, self._moved = fraction, elapsed
        if elapsed >= _LEAST_SECONDS and self._fraction >= _LEAST_FRACTION:
            now = elapsed / self._fraction
            self._whole = now if self._whole is None else _INERTIA * self._whole + (1 - _INERTIA) * now
        # The steps are not of one length: one that has taken long already may well take as long again.
        remaining = None if self._whole is None else max(self._whole - elapsed, elapsed - self._moved)
        return BuildProgress(phases[-1][0] if phases else "", self._fraction, elapsed, remaining)


def fraction_done(phases: Phases) -> float:
    """Of the outermost phase: a phase that runs inside a step counts for the part of that step that it has done."""
    done = 0.0
    for _, steps, total in reversed(phases):
        done = min(1.0, (steps + done) / total) if total > 0 else done
    return done


def seconds_text(seconds: float) -> str:
    """ "0.4 s", "40 s", "3 min 20 s", "1 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
