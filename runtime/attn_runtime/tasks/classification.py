"""Say what texts, recordings or pictures are: the bundle's assets tell how they become inputs, and what the classes are called.

Inputs that can be a batch are run as one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..errors import InputError, UsageError
from ..preprocess import open_text
from ..session import RunReport, Session, batches, open_session, ran
from ..spec import TensorSpec
from .file_run import Guess, scores_of, top_classes
from .text import TextRow, all_texts, check_inputs, read_texts, row_batches, run_rows

Array = NDArray[Any]

#: The assets that say how something becomes an input, and what it is called.
KINDS = {"text": "texts", "audio": "recordings", "image": "pictures"}


@dataclass(frozen=True)
class Classified:
    """One input as it was given, its likeliest classes (best first), and what was done to fit it to the model."""

    given: str
    guesses: tuple[Guess, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Classification(RunReport):
    """`kind` is a key of KINDS. `scores` says what the classes' numbers are: "softmax" (they add up to 1), "sigmoid" (each is
    0..1 by itself) or "none" (as the model answers them)."""

    kind: str
    inputs: tuple[Classified, ...]
    scores: str = "softmax"

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "scores": self.scores,
            "inputs": [
                {"input": i.given, "top": [vars(guess) for guess in i.guesses], "notes": list(i.notes)}
                for i in self.inputs
            ],
        } | self.told()


@dataclass(frozen=True)
class _Row:
    """One input ready to be run: arrays by input name, each with a batch axis of one in front."""

    given: str
    arrays: dict[str, Array]
    notes: tuple[str, ...] = ()


def classify(
    path: str | os.PathLike[str],
    inputs: Sequence[str],
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
    pairs: Sequence[str] = (),
    truncate: bool = False,
) -> Classification:
    """Classify `inputs` with the bundle at `path`: texts, or paths of WAV files or of pictures, whichever it takes.

    `file` names a UTF-8 file with further texts, one a line ("-": stdin); empty lines are left out. For a model of
    recordings or pictures it is one more of those; there "-" is stdin among `inputs` as well, and with `stdin` a text
    that is "-" stands for the lines of stdin, as in `attn-run classify`. For a model of pairs of texts `pairs` has the second
    text of each; `truncate` cuts a text that is too long, as its notes then say. Raises InputError for the first
    input that is empty, damaged or longer than the model takes, and then nothing was run; UsageError where the bundle does
    not classify, or not such inputs; and what `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.TEXTS, inputs=inputs)
    arguments.expect(arguments.PATH | arguments.NONE, file=file)
    arguments.expect(arguments.WHOLE, top=top)
    arguments.expect(arguments.FLAG, stdin=stdin, truncate=truncate)
    arguments.expect(arguments.TEXTS, pairs=pairs)
    if top < 1:
        raise UsageError(f"top: got {top}, expected 1 or more")
    if not inputs and file is None:
        raise UsageError("nothing to classify: give a text, a recording or a picture")
    with open_session(path, device, backend, graph=graph, precision=precision, threads=threads, cache=cache) as session:
        kind = classified_by(session)
        if kind != "text" and (pairs or truncate):
            asked = "pairs" if pairs else "truncate"
            raise UsageError(f"{asked}: {session.where} takes {KINDS[kind]}; leave it out")
        found: list[Classified] = []
        if kind == "text":
            given = all_texts(inputs, file, stdin, "classify")
            text = open_text(session)
            texts = row_batches(session, text, read_texts(session, text, given, pairs, truncate))
            started = time.perf_counter()
            for part in texts:
                found += _classified(session, part, run_rows(session, text, part), top)
            calls = len(texts)
        else:
            rows = _READERS[kind](session, [*inputs, *([] if file is None else [os.fspath(file)])])
            started = time.perf_counter()
            parts = _batches(session, rows)
            for batch in parts:
                found += _run(session, batch, top)
            calls = len(parts)
        seconds = time.perf_counter() - started
        return Classification(kind, tuple(found), scores_of(session), **ran(session, calls, seconds))


def classified_by(session: Session) -> str:
    """What a bundle classifies, a key of KINDS. UsageError where it is no classifier, or takes more than that."""
    kinds = [kind for kind in KINDS if session.asset(kind) is not None]
    if len(kinds) != 1 or session.asset("labels") is None:
        found = ", ".join([*kinds, *(["labels"] if session.asset("labels") is not None else [])]) or "none of them"
        raise UsageError(
            f"{session.where}: is no classifier: expected labels and one of {', '.join(KINDS)} among its assets, found "
            f"{found}; attn-run run takes any model"
        )
    recipe = session.asset(kinds[0])
    assert recipe is not None
    names = {spec.name for spec in session.inputs}
    if kinds[0] == "text":
        check_inputs(session)
    elif names != {recipe["input"]}:
        raise UsageError(
            f"{session.where}: takes {', '.join(sorted(names))}, and {KINDS[kinds[0]]} give {recipe['input']}; "
            "attn-run run takes an .npz with all of them"
        )
    return kinds[0]


# --- one reader a kind ---------------------------------------------------------------------------------------------


def _read_recordings(session: Session, given: Sequence[str]) -> list[_Row]:
    from ..preprocess import load_audio

    recipe = session.asset("audio")
    assert recipe is not None
    samples = _spec(session, recipe["input"]).dims[1]
    rows = []
    for file in given:
        wave = load_audio(file, recipe, samples.min, samples.max)
        rows.append(_Row(file, {recipe["input"]: wave.samples}, wave.notes))
    return rows


def _read_pictures(session: Session, given: Sequence[str]) -> list[_Row]:
    from ..preprocess import load_image

    recipe = session.asset("image")
    assert recipe is not None
    return [_Row(file, {recipe["input"]: load_image(file, recipe)}) for file in given]


_READERS = {"audio": _read_recordings, "image": _read_pictures}


def _spec(session: Session, name: str) -> TensorSpec:
    (found,) = (spec for spec in session.inputs if spec.name == name)
    return found


# --- batches -------------------------------------------------------------------------------------------------------


def _batches(session: Session, rows: Sequence[_Row]) -> list[list[_Row]]:
    """Rows in order, as many in a batch as the graph takes; those that are not of one shape are not put together."""
    shapes = [{name: array.shape for name, array in row.arrays.items()} for row in rows]
    return [[rows[number] for number in batch] for batch in batches(shapes, session.inputs[0].dims[0].max)]


def _run(session: Session, batch: Sequence[_Row], top: int) -> list[Classified]:
    arrays = [row.arrays for row in batch]
    # A graph of a fixed batch is given the last row again.
    arrays += [arrays[-1]] * (session.inputs[0].dims[0].min - len(arrays))
    feed = {
        spec.name: np.ascontiguousarray(np.concatenate([a[spec.name] for a in arrays]), spec.dtype)
        for spec in session.inputs
    }
    return _classified(session, batch, session.run(feed), top)


def _classified(
    session: Session, batch: Sequence[_Row | TextRow], outputs: Mapping[str, Array], top: int
) -> list[Classified]:
    guesses = top_classes(session, outputs, top)
    if guesses is None:
        bad = any(not np.isfinite(value).all() for value in outputs.values() if value.dtype.kind == "f")
        told = "the answer is not finite" if bad else "its output is no row of scores for each input"
        raise InputError(f"{session.where}: {told}, so there is no class; attn-run run shows the outputs")
    return [Classified(row.given, guess, row.notes) for row, guess in zip(batch, guesses, strict=False)]
