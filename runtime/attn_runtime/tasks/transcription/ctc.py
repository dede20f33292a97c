"""Transcribe with a model that answers the scores of a token for each frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import BundleError, InputError, UsageError
from ...preprocess import CtcText
from ...session import Session, batches
from .windows import Window, filled, overlapping


class CtcReader:
    """Recordings to texts through an open session; counts its calls."""

    def __init__(self, session: Session, recipe: Mapping[str, Any]) -> None:
        self.session, self.calls = session, 0
        self._recipe = recipe
        self._text = CtcText(recipe, session.asset("tokenizer"), session.where)
        (self._input,) = session.inputs
        if recipe["output"] not in [spec.name for spec in session.outputs]:
            raise BundleError(
                f"{session.where}: asset ctc: there is no output {recipe['output']}, found "
                f"{', '.join(spec.name for spec in session.outputs)}; re-export the bundle"
            )

    def windows(self, samples: int) -> list[Window]:
        return overlapping(samples, self._input.dims[1].max, self._recipe["frame"])

    def read(self, samples: NDArray[np.float32], windows: Sequence[Window]) -> tuple[str, list[str]]:
        """The text of a recording, float32 [1, samples], and notes."""
        rows, length = self._input.dims
        arrays = [filled(samples, window, length.min) for window in windows]
        frames: list[NDArray[np.int64]] = []
        for batch in batches([array.shape[1] for array in arrays], rows.max):
            # A graph of a fixed batch is given the last row again.
            given = [arrays[number] for number in batch] + [arrays[batch[-1]]] * (rows.min - len(batch))
            scores = self.session.run({self._input.name: np.concatenate(given).astype(self._input.dtype)})[
                self._recipe["output"]
            ]
            self.calls += 1
            if scores.ndim != 3 or len(scores) != len(given):
                raise BundleError(
                    f"{self.session.where}: asset ctc: output {self._recipe['output']} is {list(scores.shape)}, expected "
                    "[batch, frames, tokens]; re-export the bundle"
                )
            if not np.isfinite(scores).all():
                raise InputError(f"{self.session.where}: its scores are not finite, so there is no text")
            likeliest = scores.argmax(axis=2)
            for row, number in zip(likeliest, batch, strict=False):
                kept = windows[number].kept(self._recipe["frame"])
                if number + 1 < len(windows) and len(row) < kept.stop:
                    raise UsageError(
                        f"{self.session.where}: windows of {windows[number].samples} samples can't be joined: they give "
                        f"{len(row)} frames, and {kept.stop} are needed; re-export with a longer range of samples"
                    )
                frames.append(row[kept])
        return self._text.text(np.concatenate(frames).tolist()), []
