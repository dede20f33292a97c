"""Tasks of bundles that write: texts continued or translated, recordings transcribed.

Rows are requests to one generator, which come and go by themselves: none waits for the longest of its batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ....bundle import Bundle
from ....errors import AttnError, InputError
from ....generate import Generated, GenerateOptions, Generator, Request, open_generator
from ....preprocess import load_whole, open_text
from ....session import open_session
from ...transcription import CtcReader, WrittenReader, check_recordings, transcribed_by
from .contract import NOTES, Answer, Answering, Answers, Opening, Task, TaskOptions
from .fronts import RECORDING, TEXT

#: Requests that are handed over before the first of them is waited for.
_AHEAD = 256
_PART_ROWS = 256


def generate_task(bundle: Bundle, options: TaskOptions, opening: Opening) -> Task:
    """What a language model writes behind a text, or a translator for it."""
    import pyarrow as pa

    @contextmanager
    def opened(how: Opening) -> Iterator[Answering]:
        with open_generator(how.path, **how.of_generator()) as generator:
            yield _Writing(generator, options)

    fields = (("answer", pa.string), ("tokens", pa.int32), ("stopped", pa.string))
    return Task("generate", (TEXT,), fields, opened, _PART_ROWS)


def transcribe_task(bundle: Bundle, options: TaskOptions, opening: Opening) -> Task:
    """What is said in a recording."""
    import pyarrow as pa

    kind, audio = transcribed_by(bundle)

    @contextmanager
    def opened(how: Opening) -> Iterator[Answering]:
        if kind == "ctc":
            with open_session(how.path, **how.of_session()) as session:
                check_recordings(session.inputs, audio, session.where)
                yield _Hearing(CtcReader(session, bundle.asset("ctc") or {}), session.choice, audio)
        else:
            with open_generator(how.path, **how.of_generator()) as generator:
                check_recordings(generator.inputs, audio, generator.where)
                yield _Dictated(generator, options, audio)

    fields = (("answer", pa.string), ("seconds", pa.float64))
    return Task("transcribe", (RECORDING,), fields, opened, _PART_ROWS)


def _generate_options(options: TaskOptions) -> GenerateOptions:
    return GenerateOptions(max_length=options.max_length, beams=1)


class _Requests:
    """Prompts handed over, up to some ahead of the one that is waited for."""

    def __init__(self, generator: Generator, options: GenerateOptions) -> None:
        self._generator, self._options = generator, options
        self._waiting: deque[Request[Generated]] = deque()

    def submit(self, inputs: Mapping[str, Any]) -> Request[Generated]:
        while len(self._waiting) >= _AHEAD:
            self._waiting.popleft().result()
        request = self._generator.submit(inputs, self._options)
        self._waiting.append(request)
        return request


class _Writing:
    def __init__(self, generator: Generator, options: TaskOptions) -> None:
        self.choice = generator.choice
        self._generator, self._options, self._truncate = generator, _generate_options(options), options.truncate
        self._text = open_text(generator)

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> Answers:
        requests, handed = _Requests(self._generator, self._options), list[Any]()
        for row in rows:
            try:
                encoded = self._text.encoded(row["text"], None, self._truncate)
                handed.append((requests.submit(self._text.batch([encoded])), encoded.cut))
            except InputError as error:
                handed.append(error)
        return Answers.of_rows([one if isinstance(one, AttnError) else self._answer(*one) for one in handed])

    def _answer(self, request: Request[Generated], cut: int) -> Answer:
        try:
            found = request.result()
        except InputError as error:
            return error
        tokens = found.row(0)
        told = {"answer": self._text.decode(tokens), "tokens": len(tokens), "stopped": found.stopped[0]}
        return told | ({NOTES: [f"{cut} tokens of the text were left out"]} if cut else {})


class _Hearing:
    """One recording after the other; its windows are a batch."""

    def __init__(self, reader: CtcReader, choice: str, audio: Mapping[str, Any]) -> None:
        self.choice, self._reader, self._audio = choice, reader, audio

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> Answers:
        return Answers.of_rows([self._answer(row) for row in rows])

    def _answer(self, row: Mapping[str, Any]) -> Answer:
        try:
            wave = load_whole(row["recording"]["content"], self._audio)
            samples = wave.samples.shape[1]
            text, notes = self._reader.read(wave.samples, self._reader.windows(samples))
        except InputError as error:
            return error
        return _heard(text, samples, self._audio, (*wave.notes, *notes))


class _Dictated:
    """The windows of all recordings are requests beside each other."""

    def __init__(self, generator: Generator, options: TaskOptions, audio: Mapping[str, Any]) -> None:
        self.choice, self._generator, self._audio = generator.choice, generator, audio
        self._options = _generate_options(options)
        self._reader = WrittenReader(generator, self._options)

    def answers(self, rows: Sequence[Mapping[str, Any]]) -> Answers:
        requests, handed = _Requests(self._generator, self._options), list[Any]()
        name = self._audio["input"]
        for row in rows:
            try:
                wave = load_whole(row["recording"]["content"], self._audio)
                windows = self._reader.windows(wave.samples.shape[1])
                arrays = self._reader.arrays(wave.samples, windows)
                handed.append(([requests.submit({name: array}) for array in arrays], wave.samples.shape[1], wave.notes))
            except InputError as error:
                handed.append(error)
        return Answers.of_rows([one if isinstance(one, AttnError) else self._answer(*one) for one in handed])

    def _answer(self, requests: Sequence[Request[Generated]], samples: int, notes: Sequence[str]) -> Answer:
        try:
            found = [request.result() for request in requests]
        except InputError as error:
            return error
        text, more = self._reader.text([one.row(0) for one in found], [one.stopped[0] != "length" for one in found])
        return _heard(text, samples, self._audio, (*notes, *more))


def _heard(text: str, samples: int, audio: Mapping[str, Any], notes: Sequence[str]) -> Answer:
    told = {"answer": text, "seconds": samples / audio["sample_rate"]}
    return told | ({NOTES: list(notes)} if notes else {})
