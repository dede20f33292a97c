"""Transcribe with a model that writes token by token: Whisper and its kin, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
        arrays = self.arrays(samples, windows)
        answers: list[Sequence[int]] = []
        ended: list[bool] = []
        rows = max(1, self.generator.most_rows // self.generator.settings(self.options).beams)
        for batch in batches([array.shape[1] for array in arrays], rows):
            wave = np.concatenate([arrays[number] for number in batch])
            found = self.generator.generate({self._input.name: wave}, self.options)
            self.calls += 1
            for row in range(len(batch)):
                answers.append(found.row(row))
                ended.append(found.stopped[row] != "length")
        return self.text(answers, ended)

    def arrays(self, samples: NDArray[np.float32], windows: Sequence[Window]) -> list[NDArray[Any]]:
        """The graph's input for each window, [1, samples]."""
        least = self._input.dims[1].min
        return [filled(samples, window, least).astype(self._input.dtype) for window in windows]

    def text(self, answers: Sequence[Sequence[int]], ended: Sequence[bool]) -> tuple[str, list[str]]:
        """One text of the tokens of all windows, and a note for each that did not end by itself."""
        notes = [
            f"window {number + 1} of {len(answers)} ends at {len(answer)} tokens, without a stop token"
            for number, (answer, stopped) in enumerate(zip(answers, ended, strict=True))
            if not stopped
        ]
        # As one text: what stands between words is part of their tokens, and some tokenizers leave it out at a beginning.
        return self._text.decode(token for answer in answers for token in answer).strip(), notes
