"""Names, places and whatever else a model marks in a text: a label for each token, put together to entities."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import arguments
from ...errors import BundleError, UsageError
from ...session import RunReport
from .rows import Array, TextRow, all_texts, expect_finite, opened, output_of, read_texts, softmax

#: What a label is called that marks nothing.
OUTSIDE = "O"


@dataclass(frozen=True)
class Entity:
    """A piece of a text, characters `begin` up to `end`, and what it is; `probability` is the mean of its tokens'."""

    label: str
    text: str
    begin: int
    end: int
    probability: float


@dataclass(frozen=True)
class Tagged:
    """One text and what is marked in it, in order."""

    given: str
    entities: tuple[Entity, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Tagging(RunReport):
    inputs: tuple[Tagged, ...]

    def to_json(self) -> dict[str, Any]:
        inputs = [
            {"input": i.given, "entities": [vars(entity) for entity in i.entities], "notes": list(i.notes)}
            for i in self.inputs
        ]
        return {"inputs": inputs, **self.told()}


def tag(
    path: str | os.PathLike[str],
    texts: Sequence[str],
    backend: str | None = None,
    device: str = "auto",
    *,
    file: str | os.PathLike[str] | None = None,
    truncate: bool = False,
    graph: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
    stdin: bool = False,
) -> Tagging:
    """Mark what the bundle at `path` knows in `texts` and the lines of `file`.

    Neighbouring tokens of one label are one entity; a label may begin with B- (the first token of an entity) or I- (one that
    goes on), and O marks nothing. `truncate` cuts a text that is too long, as its notes then say. Raises InputError for the first
    text that is empty or too long, and then nothing was run; UsageError where the bundle labels no tokens; and what
    `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.FLAG, truncate=truncate)
    given = all_texts(texts, file, stdin, "tag")
    with opened(path, backend, device, graph, precision, threads, cache) as run:
        session = run.session
        spec = output_of(session, "logits", ("batch", "length", "labels"), "labels no tokens")
        labels = session.asset("labels")
        if labels is None:
            raise UsageError(
                f"{session.where}: labels no tokens: it has no asset labels; attn-run run shows the outputs"
            )
        if spec.dims[2].max != len(labels) and not spec.dims[2].dynamic:
            raise BundleError(f"{session.where}: has {len(labels)} labels, its logits {spec.dims[2].max} columns")
        rows = read_texts(session, run.text, given, truncate=truncate)
        found = []
        for row, outputs in run.rows(rows):
            logits = outputs["logits"][: len(row.encoded.tokens)]
            expect_finite(session, row, logits)
            found.append(Tagged(row.given, tuple(entities_of(row, softmax(logits), labels)), row.notes))
        return Tagging(inputs=tuple(found), **run.report())


def entities_of(row: TextRow, probabilities: Array, labels: Sequence[str]) -> Iterator[Entity]:
    """What is marked in a text, of the probabilities [tokens, labels].

    Tokens that the tokenizer added, and those that stand for no character, are of none.
    """
    label, begin, end, shares = "", 0, 0, [0.0]
    for number, ((first, last), of) in enumerate(zip(row.encoded.spans, row.encoded.texts, strict=True)):
        if of is None or first == last:
            continue
        best = int(np.argmax(probabilities[number]))
        prefix, _, kind = labels[best].rpartition("-") if labels[best][:2] in ("B-", "I-") else ("", "", labels[best])
        share = float(probabilities[number, best])
        if kind == label and prefix != "B":
            end = last
            shares.append(share)
            continue
        if label not in ("", OUTSIDE):
            yield _entity(row, label, begin, end, shares)
        label, begin, end, shares = kind, first, last, [share]
    if label not in ("", OUTSIDE):
        yield _entity(row, label, begin, end, shares)


def _entity(row: TextRow, label: str, begin: int, end: int, shares: Sequence[float]) -> Entity:
    # A tokenizer that keeps spaces with words counts them in.
    text = row.given[begin:end]
    begin += len(text) - len(text.lstrip())
    return Entity(label, text.strip(), begin, begin + len(text.strip()), float(np.mean(shares)))
