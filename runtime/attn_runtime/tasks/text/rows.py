"""Texts on their way through one graph: read, put together into batches, run.

A text is padded to the longest of its batch; a model whose mask does its work answers the same as without. Where a model has no
mask, only texts of one length are put together.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import arguments
from ...errors import InputError, UsageError
from ...escape import printable
from ...preprocess import Encoded, Text, open_text, read_lines
from ...session import Session, batches, open_session, ran
from ...spec import TensorSpec

Array = NDArray[Any]


@dataclass(frozen=True)
class TextRow:
    """One text, or pair of them, as it was given and as tokens; `notes` say what the model does not see of it."""

    given: str
    second: str | None
    encoded: Encoded
    notes: tuple[str, ...] = ()


class Run:
    """A session with the tokenizer of its bundle, and the count of what it did."""

    def __init__(self, session: Session) -> None:
        self.session, self.text = session, open_text(session)
        check_inputs(session)
        self.calls, self.seconds = 0, 0.0

    def rows(self, rows: Sequence[TextRow]) -> Iterator[tuple[TextRow, dict[str, Array]]]:
        """Each row with its part of every output, [...] without the batch, as long as the batch."""
        for batch in row_batches(self.session, self.text, rows):
            started = time.perf_counter()
            outputs = run_rows(self.session, self.text, batch)
            self.seconds += time.perf_counter() - started
            self.calls += 1
            for number, row in enumerate(batch):
                yield row, {name: value[number] for name, value in outputs.items()}

    def report(self) -> dict[str, Any]:
        """The arguments of a RunReport."""
        return ran(self.session, self.calls, self.seconds)


@contextmanager
def opened(
    path: str | os.PathLike[str],
    backend: str | None,
    device: str,
    graph: str | None,
    precision: str | None,
    threads: int | str | None,
    cache: str | os.PathLike[str] | None,
) -> Iterator[Run]:
    """A session of texts. Raises UsageError where the bundle takes none, or more than texts, and what `open_session` raises."""
    with open_session(path, device, backend, graph=graph, precision=precision, threads=threads, cache=cache) as session:
        yield Run(session)


def all_texts(texts: Sequence[str], file: str | os.PathLike[str] | None, stdin: bool, verb: str) -> list[str]:
    """`texts` with the lines of `file`; with `stdin`, a text that is "-" stands for the lines of stdin. UsageError where there
    is none."""
    arguments.expect(arguments.TEXTS, texts=texts)
    arguments.expect(arguments.PATH | arguments.NONE, file=file)
    arguments.expect(arguments.FLAG, stdin=stdin)
    given = [text for each in texts for text in (read_lines(each, blank=False) if stdin and each == "-" else (each,))]
    if file is not None:
        given += read_lines(os.fspath(file), blank=False)
    if not given:
        raise UsageError(f"nothing to {verb}: give a text, or --file")
    return given


def check_inputs(session: Session) -> None:
    """UsageError unless a text gives every input that the graph takes."""
    recipe = session.asset("text")
    assert recipe is not None, "whoever asks has its tokenizer"
    wanted = {name for name in (recipe["input"], recipe["mask"], recipe.get("types")) if name is not None}
    names = {spec.name for spec in session.inputs}
    if names != wanted:
        raise UsageError(
            f"{session.where}: takes {', '.join(sorted(names))}, and texts give {', '.join(sorted(wanted))}; "
            "attn-run run takes an .npz with all of them"
        )


def read_texts(
    session: Session, text: Text, given: Sequence[str], seconds: Sequence[str] = (), truncate: bool = False
) -> list[TextRow]:
    """Every text, with the one of `seconds` that belongs to it, as tokens. Raises InputError for the first that is empty or too
    long, UsageError for one that is the name of a file and where the two are not as many."""
    if seconds and len(seconds) != len(given):
        raise UsageError(f"pairs: got {len(seconds)} second texts for {len(given)} first ones; give one for each")
    rows = []
    for number, said in enumerate(given):
        if _is_file(said):
            raise UsageError(
                f'text "{printable(said, 40)}": is a file, and {session.where} takes texts; --file reads texts from a file'
            )
        second = seconds[number] if seconds else None
        # Alone, and without padding: what it is padded to is its batch's to say.
        encoded = text.encoded(said, second, truncate)
        rows.append(TextRow(said, second, encoded, tuple(_notes(text, said, second, encoded))))
    return rows


def _notes(text: Text, said: str, second: str | None, encoded: Encoded) -> Iterator[str]:
    unknown = [word for each in (said, second) if each is not None for word in text.unknown_words(each)]
    if unknown:
        count = len(encoded.tokens) + encoded.cut
        yield f"{len(unknown)} of {count} words are unknown to the model: {', '.join(dict.fromkeys(unknown))}"
    if encoded.cut:
        yield f"cut to {len(encoded.tokens)} tokens, {encoded.cut} were left out"


def row_batches(session: Session, text: Text, rows: Sequence[TextRow]) -> list[list[TextRow]]:
    """Rows in order, as many in a batch as the graph takes."""
    lengths = [text.padded_length(row.encoded) if text.mask is None else None for row in rows]
    return [[rows[number] for number in batch] for batch in batches(lengths, session.inputs[0].dims[0].max)]


def run_rows(session: Session, text: Text, batch: Sequence[TextRow]) -> dict[str, Array]:
    """The outputs for a batch, a row each. A graph of a fixed batch is given the last row again, whose answers are dropped."""
    encoded = [row.encoded for row in batch]
    encoded += [encoded[-1]] * (session.inputs[0].dims[0].min - len(encoded))
    feed = {name: np.ascontiguousarray(value) for name, value in text.batch(encoded).items()}
    return {name: value[: len(batch)] for name, value in session.run(feed).items()}


def output_of(session: Session, name: str, dims: Sequence[str], what: str) -> TensorSpec:
    """The float output `name` with as many dims; UsageError where the graph has none, so that it does not do `what`."""
    for spec in session.outputs:
        if spec.name == name and spec.dtype.startswith("float") and len(spec.dims) == len(dims):
            return spec
    raise UsageError(
        f"{session.where}: {what}: expected an output {name} [{', '.join(dims)}], found "
        f"{', '.join(map(str, session.outputs))}; attn-run run shows the outputs"
    )


def softmax(scores: Array) -> Array:
    """Along the last axis, in float64."""
    wide = scores.astype(np.float64)
    exponents = np.exp(wide - wide.max(axis=-1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=-1, keepdims=True))


def expect_finite(session: Session, row: TextRow, values: Array) -> None:
    """InputError for an answer that is not finite: it has no order."""
    if not np.isfinite(values).all():
        raise InputError(
            f'{session.where}: the answer to "{printable(row.given, 40)}" is not finite; attn-run verify tells why'
        )


def _is_file(text: str) -> bool:
    try:
        return Path(text).exists() and not Path(text).is_dir()  # a pipe, too, is no text that someone wrote
    except (OSError, ValueError):  # too long for a path, or with a NUL
        return False
