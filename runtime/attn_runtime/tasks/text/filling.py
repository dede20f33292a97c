"""Words for the places that a text leaves open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import arguments
from ...errors import InputError, UsageError
from ...escape import printable
from ...session import RunReport
from .rows import all_texts, expect_finite, opened, output_of, read_texts, softmax


@dataclass(frozen=True)
class Word:
    """A token that may stand in a place, as text; `probability` is 0..1."""

    token: int
    text: str
    probability: float


@dataclass(frozen=True)
class Filled:
    """One text; for each of its open places, in order, the likeliest words, best first."""

    given: str
    places: tuple[tuple[Word, ...], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Filling(RunReport):
    """`mask` is how an open place is written."""

    inputs: tuple[Filled, ...]
    mask: str

    def to_json(self) -> dict[str, Any]:
        inputs = [
            {
                "input": i.given,
                "places": [[vars(word) for word in words] for words in i.places],
                "notes": list(i.notes),
            }
            for i in self.inputs
        ]
        return {"mask": self.mask, "inputs": inputs, **self.told()}


def fill(
    path: str | os.PathLike[str],
    texts: Sequence[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    file: str | os.PathLike[str] | None = None,
    top: int = 3,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    stdin: bool = False,
) -> Filling:
    """The `top` likeliest words for each open place in `texts` and the lines of `file`, with the masked language model at `path`.

    An open place is written as the bundle's tokenizer has it, [MASK] or <mask>. Raises InputError for the first text that is
    empty, too long or has no open place, and then nothing was run; UsageError where the bundle fills none; and what
    `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.WHOLE, top=top)
    if top < 1:
        raise UsageError(f"top: got {top}, expected 1 or more")
    given = all_texts(texts, file, stdin, "fill")
    with opened(path, backend, device, graph, precision, threads, cache) as run:
        session, text, mask = run.session, run.text, run.text.mask_token
        output_of(session, "logits", ("batch", "length", "vocabulary"), "fills no words in")
        if session.asset("labels") is not None:
            raise UsageError(f"{session.where}: fills no words in: it labels tokens; attn-run tag does that")
        if mask is None:
            raise UsageError(
                f"{session.where}: fills no words in: its asset text names no mask_token; attn-run run takes arrays"
            )
        (name,) = text.names([mask])
        rows = read_texts(session, text, given)
        for row in rows:
            if mask not in row.encoded.tokens:
                raise InputError(f'text "{printable(row.given, 40)}": has no open place; write {printable(name)} there')
        found = []
        for row, outputs in run.rows(rows):
            places = []
            for place in np.flatnonzero(row.encoded.tokens == mask):
                expect_finite(session, row, outputs["logits"][place])
                probabilities = softmax(outputs["logits"][place])
                best = np.argsort(-probabilities, kind="stable")[:top]
                places.append(tuple(Word(int(t), _word(text, int(t)), float(probabilities[t])) for t in best))
            found.append(Filled(row.given, tuple(places), row.notes))
        return Filling(inputs=tuple(found), mask=name, **run.report())


def _word(text: Any, token: int) -> str:
    """As it reads; a special one, which reads as nothing, by its name."""
    return str(text.decode([token]).strip() or text.names([token])[0])
