"""Where the windows lie in which a long recording is read, and which frames of each are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Windows reach this share of their length over the place where they are joined, on each side, as transformers' pipeline has it.
SIDE = 1 / 6


@dataclass(frozen=True)
class Window:
    """Samples `start` up to `stop` of a recording; `left` and `right` of them are there for what they tell of the rest."""

    start: int
    stop: int
    left: int = 0
    right: int = 0

    @property
    def samples(self) -> int:
        return self.stop - self.start

    def kept(self, frame: int) -> slice:
        """The frames, of `frame` samples each, that are this window's own."""
        frames = round(self.samples / frame)
        left, right = (round(side / self.samples * frames) for side in (self.left, self.right))
        return slice(left, frames - right)


def overlapping(samples: int, most: int, frame: int) -> list[Window]:
    """Windows of up to `most` samples over `samples`, each cut in the middle of what it shares with the next.

    Their own parts cover the recording once, in whole frames but for its end.
    """
    if samples <= most:
        return [Window(0, samples)]
    length, side = most // frame * frame, round(most * SIDE / frame) * frame
    step = length - 2 * side
    if step < frame:  # too few frames in a window to share some
        return behind_each_other(samples, max(length, 1))
    found = []
    for start in range(0, samples, step):
        last = start + length >= samples
        found.append(Window(start, min(start + length, samples), side if start else 0, 0 if last else side))
        if last:
            break
    return found


def behind_each_other(samples: int, most: int) -> list[Window]:
    """Windows of `most` samples, the last of what is left."""
    return [Window(start, min(start + most, samples)) for start in range(0, max(samples, 1), most)]


def filled(samples: NDArray[np.float32], window: Window, least: int) -> NDArray[np.float32]:
    """The samples of a window, float32 [1, samples], with silence behind them up to `least`."""
    cut = samples[:, window.start : window.stop]
    return np.pad(cut, ((0, 0), (0, max(0, least - cut.shape[1]))))
