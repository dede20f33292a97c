"""Answers to a question that stand in a text: the likeliest pieces of it, by where the model sees them begin and end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import arguments
from ...errors import UsageError
from ...session import RunReport
from .rows import Array, TextRow, expect_finite, opened, output_of, softmax

#: The most tokens of an answer, where none is named.
MAX_ANSWER = 15


@dataclass(frozen=True)
class Answer:
    """A piece of the context, characters `begin` up to `end`. `probability` is that of its begin times that of its end, among
    the places of its window."""

    text: str
    begin: int
    end: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Answers(RunReport):
    """The likeliest pieces, best first; pieces of one place are one. `windows` says in how many parts the context was read."""

    question: str
    answers: tuple[Answer, ...]
    windows: int

    def to_json(self) -> dict[str, Any]:
        answers = [vars(each) for each in self.answers]
        return {"question": self.question, "answers": answers, "windows": self.windows, **self.told()}


def answer(
    path: str | os.PathLike[str],
    question: str,
    context: str,
    backend: str | None = None,
    device: str = "auto",
    *,
    top: int = 1,
    max_answer: int = MAX_ANSWER,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Answers:
    """Where `context` answers `question`, by the question answering model at `path`.

    A context that is longer than the model takes is read in windows that overlap by half of the room that the question leaves.
    `top` is how many answers there are at most, `max_answer` the most tokens of one. Raises InputError for a text that is empty
    and a question that leaves no room, UsageError where the bundle answers none, and what `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.TEXT, question=question, context=context)
    arguments.expect(arguments.WHOLE, top=top, max_answer=max_answer)
    for name, value in (("top", top), ("max_answer", max_answer)):
        if value < 1:
            raise UsageError(f"{name}: got {value}, expected 1 or more")
    with opened(path, backend, device, graph, precision, threads, cache) as run:
        for name in ("start_logits", "end_logits"):
            output_of(run.session, name, ("batch", "length"), "answers no questions")
        rows = [TextRow(question, context, window) for window in run.text.windows(question, context)]
        best: dict[tuple[int, int], float] = {}
        for row, outputs in run.rows(rows):
            for name in ("start_logits", "end_logits"):
                expect_finite(run.session, row, outputs[name])
            for span, probability in _spans(row, outputs["start_logits"], outputs["end_logits"], top, max_answer):
                best[span] = max(best.get(span, 0.0), probability)
        order = sorted(best.items(), key=lambda item: (-item[1], item[0]))[:top]
        answers = tuple(Answer(context[a:b], a, b, probability) for (a, b), probability in order)
        return Answers(question=question, answers=answers, windows=len(rows), **run.report())


def _spans(row: TextRow, starts: Array, ends: Array, top: int, most: int) -> list[tuple[tuple[int, int], float]]:
    """The likeliest pieces of one window: characters of the context, and how likely."""
    places = np.array([n for n, of in enumerate(row.encoded.texts) if of == 1])
    if not places.size:
        return []
    begin, end = softmax(starts[places]), softmax(ends[places])
    together = np.triu(begin[:, None] * end[None, :])
    together -= np.triu(together, most)
    order = np.argsort(-together, axis=None, kind="stable")[:top]
    found = []
    for a, b in zip(*np.unravel_index(order, together.shape), strict=True):
        if together[a, b] > 0:
            span = row.encoded.spans[places[a]][0], row.encoded.spans[places[b]][1]
            found.append((_trimmed(row.second or "", *span), float(together[a, b])))
    return found


def _trimmed(text: str, begin: int, end: int) -> tuple[int, int]:
    """Without the spaces that some tokenizers keep with a word."""
    piece = text[begin:end]
    begin += len(piece) - len(piece.lstrip())
    return begin, begin + len(piece.strip())
