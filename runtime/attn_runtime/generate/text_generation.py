"""Texts in, texts out: translations of a model with an encoder, continuations of one without."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import arguments
from ..bundle import Bundle
from ..errors import UsageError
from ..preprocess import Text, open_text
from .generator import Generator, open_generator
from .options import Event, GenerateOptions, check_cancel, known_options
from .result import Stopped


@dataclass(frozen=True)
class TextAnswer:
    """`unknown` are the words of the given text that the model does not know; `score` is None unless asked for or needed."""

    given: str
    text: str
    tokens: tuple[int, ...]
    score: float | None
    stopped: Stopped
    unknown: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "tokens": list(self.tokens), "unknown": list(self.unknown)}


@dataclass(frozen=True)
class TextAnswers:
    """`calls` says how many batches were generated, in `seconds`. `notes` say that a GPU was left unused, where one was.
    `drafted` and `accepted` count guesses, as in `Generated`; None without `lookup`."""

    answers: tuple[TextAnswer, ...]
    calls: int
    seconds: float
    backend: str
    device: str
    choice: str
    passed_over: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    drafted: int | None = None
    accepted: int | None = None

    def to_json(self) -> dict[str, Any]:
        tokens = sum(len(answer.tokens) for answer in self.answers)
        return {
            "answers": [answer.to_json() for answer in self.answers],
            "tokens": tokens,
            "calls": self.calls,
            "seconds": self.seconds,
            "tokens_per_second": tokens / self.seconds if self.seconds else None,
            "backend": self.backend,
            "device": self.device,
            "choice": self.choice,
            "passed_over": list(self.passed_over),
            "notes": list(self.notes),
            **({} if self.drafted is None else {"drafted": self.drafted, "accepted": self.accepted}),
        }


def generate_texts(
    path: str | os.PathLike[str] | Bundle,
    texts: Sequence[str],
    options: GenerateOptions | None = None,
    *,
    translate: bool | None = None,
    blank: bool = False,
    device: str = "auto",
    backend: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    low_memory: bool = False,
    on_unknown: Callable[[str, Sequence[str]], object] | None = None,
    on_text: Callable[[int, str], object] | None = None,
    cancel: Event | Callable[[], object] | None = None,
) -> TextAnswers:
    """Generate from `texts` with the bundle at `path`, as many at a time as its graphs take.

    translate   True refuses a model without an encoder, False one with; None takes either
    blank       a text of spaces alone gives an empty answer; otherwise it is refused
    on_unknown  called with a text and its unknown words, before anything is generated
    on_text     called with (number of the text, its answer up to now) as that grows, with one beam. What a later token may
                change is not told yet: each begins with the one before it, and the last one is the answer

    Every text is looked at before the first one is run. Raises InputError for one that is empty or too long, UsageError
    where the bundle takes no texts, and what `open_generator` and `Generator.generate` raise.
    """
    arguments.expect(arguments.TEXTS, texts=texts)
    arguments.expect(arguments.FLAG | arguments.NONE, translate=translate)
    arguments.expect(arguments.FLAG, blank=blank)
    arguments.expect_call("on_unknown", on_unknown, "", ())
    arguments.expect_call("on_text", on_text, 0, "")
    options = known_options(options)
    check_cancel(cancel)
    with open_generator(
        path, device, backend, precision=precision, threads=threads, cache=cache, low_memory=low_memory
    ) as generator:
        _check_kind(generator, translate)
        encoder = open_text(generator)
        asked = [number for number, text in enumerate(texts) if text.strip() or not blank]
        encoded = {number: encoder.encoded(texts[number]) for number in asked}
        unknown = {number: tuple(encoder.unknown_words(texts[number])) for number in asked}
        for number, words in unknown.items():
            if words and on_unknown is not None:
                on_unknown(texts[number], words)
        answers = [TextAnswer(text, "", (), None, "cancelled" if text.strip() else "length", ()) for text in texts]
        rows = max(1, generator.most_rows // generator.settings(options).beams)
        guesses = generator.settings(options).lookup > 0
        if generator.wiring.one_place and (generator.wiring.encoder is None or guesses):
            rows = 1  # prompts, or what is guessed right of each, differ in length, and its rows may not
        calls, seconds, drafted, accepted = 0, 0.0, 0, 0
        for start in range(0, len(asked), rows):
            part = asked[start : start + rows]
            follow = _Follow(encoder, part, on_text) if on_text is not None else None
            found = generator.generate(encoder.batch([encoded[n] for n in part]), options, follow, cancel)
            calls, seconds = calls + 1, seconds + found.seconds
            drafted, accepted = drafted + (found.drafted or 0), accepted + (found.accepted or 0)
            for row, number in enumerate(part):
                tokens = found.row(row)
                score = None if found.scores is None else float(found.scores[row])
                text = follow.end(row, tokens) if follow is not None else encoder.decode(tokens)
                answers[number] = TextAnswer(
                    texts[number], text, tuple(tokens), score, found.stopped[row], unknown[number]
                )
            if found.cancelled:
                break
        told = generator.backend, generator.device, generator.choice
        notes = (f"runs on the CPU: {generator.unused_gpu} is here and can't be used",) if generator.unused_gpu else ()
        counted = (drafted, accepted) if guesses else (None, None)
        return TextAnswers(tuple(answers), calls, seconds, *told, generator.passed_over, notes, *counted)


class _Follow:
    """Tells the text of a row as it grows."""

    def __init__(self, encoder: Text, numbers: Sequence[int], on_text: Callable[[int, str], object]) -> None:
        self._numbers, self._on_text = numbers, on_text
        self._streams = [encoder.stream() for _ in numbers]

    def __call__(self, row: int, token: int) -> None:
        stream = self._streams[row]
        if stream.add(token):
            self._on_text(self._numbers[row], stream.told)

    def end(self, row: int, tokens: Sequence[int]) -> str:
        """Tells what is left of the answer, and returns it whole."""
        stream = self._streams[row]
        if stream.end(tokens):
            self._on_text(self._numbers[row], stream.told)
        return stream.told


def _check_kind(generator: Generator, translate: bool | None) -> None:
    if translate is True and generator.wiring.encoder is None:
        raise UsageError(f"{generator.where}: is no translator, it has no encoder; attn-run generate continues a text")
    if translate is False and generator.wiring.encoder is not None:
        raise UsageError(f"{generator.where}: has an encoder, it continues no text; attn-run translate takes one")
