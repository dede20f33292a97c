"""Transcribe with a model that writes token by token: Whisper and its kin, window by window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...generate import GenerateOptions, Generator
from ...preprocess import TokenText
from ...session import batches
from .windows import Window, behind_each_other, filled


class WrittenReader:
    """Recordings to texts through an open generator; counts its calls."""

    def __init__(self, generator: Generator, options: GenerateOptions) -> None:
        self.generator, self.options, self.calls = generator, options, 0
        self._text = TokenText(generator.asset("tokenizer"), generator.where)
        (self._input,) = generator.inputs

    def windows(self, samples: int) -> list[Window]:
        return behind_each_other(samples, self._input.dims[1].max)

    def read(self, samples: NDArray[np.float32], windows: Sequence[Window]) -> tuple[str, list[str]]:
        """The text of a recording, float32 [1, samples], and notes."""
        arrays = [filled(samples, window, self._input.dims[1].min) for window in windows]
        answers: list[Sequence[int]] = []
        notes = []
        rows = max(1, self.generator.most_rows // self.generator.settings(self.options).beams)
        for batch in batches([array.shape[1] for array in arrays], rows):
            wave = np.concatenate([arrays[number] for number in batch]).astype(self._input.dtype)
            found = self.generator.generate({self._input.name: wave}, self.options)
            self.calls += 1
            for row, number in enumerate(batch):
                answers.append(found.row(row))
                if found.stopped[row] == "length":
                    notes.append(
                        f"window {number + 1} of {len(windows)} ends at {len(answers[-1])} tokens, without a stop token"
                    )
        # As one text: what stands between words is part of their tokens, and some tokenizers leave it out at a beginning.
        return self._text.decode(token for answer in answers for token in answer).strip(), notes
