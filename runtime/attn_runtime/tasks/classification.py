"""Say what texts, recordings or pictures are: the bundle's assets tell how they become inputs, and what the classes are called.

Inputs that can be a batch are run as one. A text is padded to the longest of its batch; a model whose mask does its work answers
the same as without.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import arguments
from ..errors import InputError, UsageError
from ..escape import printable
from ..preprocess import open_text, read_lines
from ..session import Session, open_session
from ..spec import TensorSpec
from .file_run import Guess, top_classes

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
class Classification:
    """`kind` is a key of KINDS. `calls` says how many batches were run, in `seconds`, the first of the session among them."""

    kind: str
    inputs: tuple[Classified, ...]
    calls: int
    seconds: float
    backend: str
    device: str
    choice: str
    passed_over: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "inputs": [
                {"input": i.given, "top": [vars(guess) for guess in i.guesses], "notes": list(i.notes)}
                for i in self.inputs
            ],
            "calls": self.calls,
            "seconds": self.seconds,
            "backend": self.backend,
            "device": self.device,
            "choice": self.choice,
            "passed_over": list(self.passed_over),
        }


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
    threads: int | None = None,
    stdin: bool = False,
) -> Classification:
    """Classify `inputs` with the bundle at `path`: texts, or paths of WAV files or of pictures, whichever it takes.

    `file` names a UTF-8 file with further texts, one a line ("-": stdin); empty lines are left out. For a model of
    recordings or pictures it is one more of those; there "-" is stdin among `inputs` as well, and with `stdin` a text
    that is "-" stands for the lines of stdin, as in `attn-run classify`. Raises InputError for the first
    input that is empty, damaged or longer than the model takes, and then nothing was run; UsageError where the bundle does
    not classify, or not such inputs; and what `open_session` raises.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.TEXTS, inputs=inputs)
    arguments.expect(arguments.PATH | arguments.NONE, file=file)
    arguments.expect(arguments.WHOLE, top=top)
    arguments.expect(arguments.FLAG, stdin=stdin)
    if top < 1:
        raise UsageError(f"top: got {top}, expected 1 or more")
    if not inputs and file is None:
        raise UsageError("nothing to classify: give a text, a recording or a picture")
    with open_session(path, device, backend, graph=graph, precision=precision, threads=threads) as session:
        kind = _kind(session)
        given = list(inputs)
        if kind == "text" and stdin:
            given = [text for each in inputs for text in (read_lines(each, blank=False) if each == "-" else (each,))]
        if file is not None:
            name = os.fspath(file)
            given += read_lines(name, blank=False) if kind == "text" else [name]
        rows = _READERS[kind](session, given)
        found: list[Classified] = []
        started = time.perf_counter()
        batches = _batches(session, rows)
        for batch in batches:
            found += _run(session, batch, top)
        seconds = time.perf_counter() - started
        told = session.backend, session.device, session.choice
        return Classification(kind, tuple(found), len(batches), seconds, *told, session.passed_over)


def _kind(session: Session) -> str:
    kinds = [kind for kind in KINDS if session.asset(kind) is not None]
    if len(kinds) != 1 or session.asset("labels") is None:
        found = ", ".join([*kinds, *(["labels"] if session.asset("labels") is not None else [])]) or "none of them"
        raise UsageError(
            f"{session.where}: is no classifier: expected labels and one of {', '.join(KINDS)} among its assets, found "
            f"{found}; attn-run run takes any model"
        )
    recipe = session.asset(kinds[0])
    assert recipe is not None
    wanted = {recipe["input"], *([recipe["mask"]] if kinds[0] == "text" else [])}
    names = {spec.name for spec in session.inputs}
    if names != wanted:
        raise UsageError(
            f"{session.where}: takes {', '.join(sorted(names))}, and {KINDS[kinds[0]]} give {', '.join(sorted(wanted))}; "
            "attn-run run takes an .npz with all of them"
        )
    return kinds[0]


# --- one reader a kind ---------------------------------------------------------------------------------------------


def _read_texts(session: Session, given: Sequence[str]) -> list[_Row]:
    text, recipe = open_text(session), session.asset("text")
    assert recipe is not None
    rows = []
    for said in given:
        if _is_file(said):
            raise UsageError(
                f'text "{printable(said, 40)}": is a file, and {session.where} takes texts; --file reads texts from a file'
            )
        # Alone, and without padding: what it is padded to is its batch's to say.
        inputs = text.inputs([said])
        count = int(inputs[recipe["mask"]].sum())
        unknown = text.unknown_words(said)
        told = f"{len(unknown)} of {count} words are unknown to the model: {', '.join(dict.fromkeys(unknown))}"
        arrays = {name: array[:, :count] for name, array in inputs.items()}
        rows.append(_Row(said, arrays, (told,) if unknown else ()))
    return rows


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


_READERS = {"text": _read_texts, "audio": _read_recordings, "image": _read_pictures}


def _is_file(text: str) -> bool:
    try:
        return Path(text).exists() and not Path(text).is_dir()  # a pipe, too, is no text that someone wrote
    except (OSError, ValueError):  # too long for a path, or with a NUL
        return False


def _spec(session: Session, name: str) -> TensorSpec:
    (found,) = (spec for spec in session.inputs if spec.name == name)
    return found


# --- batches -------------------------------------------------------------------------------------------------------


def _batches(session: Session, rows: Sequence[_Row]) -> list[list[_Row]]:
    """Rows in order, as many in a batch as the graph takes; those that no padding makes alike are not put together."""
    recipe, most = session.asset("text"), session.inputs[0].dims[0].max
    batches: list[list[_Row]] = []
    shapes: dict[str, tuple[int, ...]] | None = None
    for row in rows:
        own = None if recipe is not None else {name: array.shape for name, array in row.arrays.items()}
        if not batches or len(batches[-1]) >= most or own != shapes:
            batches.append([])
        batches[-1].append(row)
        shapes = own
    return batches


def _run(session: Session, batch: Sequence[_Row], top: int) -> list[Classified]:
    recipe = session.asset("text")
    if recipe is not None:
        length = _spec(session, recipe["input"]).dims[1].min
        length = max(length, *(row.arrays[recipe["input"]].shape[1] for row in batch))
        # At the end of a row, and false in the mask.
        fill = {recipe["input"]: recipe["pad"], recipe["mask"]: False}
        arrays = [{name: _padded(array, length, fill[name]) for name, array in row.arrays.items()} for row in batch]
    else:
        arrays = [row.arrays for row in batch]
    # A graph of a fixed batch is given the last row again.
    arrays += [arrays[-1]] * (session.inputs[0].dims[0].min - len(arrays))
    feed = {
        spec.name: np.ascontiguousarray(np.concatenate([a[spec.name] for a in arrays]), spec.dtype)
        for spec in session.inputs
    }
    outputs = session.run(feed)
    guesses = top_classes(session, outputs, top)
    if guesses is None:
        bad = any(not np.isfinite(value).all() for value in outputs.values() if value.dtype.kind == "f")
        told = "the answer is not finite" if bad else "its output is no row of scores for each input"
        raise InputError(f"{session.where}: {told}, so there is no class; attn-run run shows the outputs")
    return [Classified(row.given, guess, row.notes) for row, guess in zip(batch, guesses, strict=False)]


def _padded(array: Array, length: int, value: int | bool) -> Array:
    return np.pad(array, ((0, 0), (0, length - array.shape[1])), constant_values=value)
