"""How a row becomes a graph's inputs: a text, a picture, a recording, or the tensors themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ....errors import AttnError, InputError, UsageError
from ....preprocess import Encoded, load_audio, load_image, open_text
from ....session import Session
from ....spec import TensorSpec
from ..rows import FILE, Need, array_of

Array = NDArray[Any]

TEXT = Need("text", "text", ("text", "sentence", "content"))
PAIR = Need("pair", "text", ("pair", "text_pair"), optional=True)
PICTURE = Need("picture", "file", ("picture", "image", "file", "path"))
RECORDING = Need("recording", "file", ("recording", "audio", "file", "path"))


@dataclass(frozen=True)
class Ready:
    """A row that can be run. Rows of another `key` do not go into one batch; those of like `length` are put together."""

    value: Any
    key: object = None
    length: int = 0
    notes: tuple[str, ...] = ()


class Front(Protocol):
    """Of an open session."""

    def prepare(self, rows: Sequence[Mapping[str, Any]]) -> list[Ready | AttnError]:
        """Each row, or why the graph does not take it."""

    def feed(self, rows: Sequence[Ready]) -> dict[str, Array]:
        """The graph's inputs for a batch."""


class TextFront:
    """Texts, or pairs of them. `spans` says whether it is asked which characters a token stands for."""

    def __init__(self, session: Session, truncate: bool, spans: bool = False) -> None:
        self.text, self._truncate, self._spans = open_text(session), truncate, spans

    def prepare(self, rows: Sequence[Mapping[str, Any]]) -> list[Ready | AttnError]:
        texts, pairs = [row["text"] for row in rows], [row.get("pair") for row in rows]
        found = self.text.encoded_each(texts, pairs, self._truncate, self._spans)
        return [
            one if isinstance(one, AttnError) else self._ready(text, one)
            for text, one in zip(texts, found, strict=True)
        ]

    def _ready(self, text: str, encoded: Encoded) -> Ready:
        notes = (f"cut to {len(encoded.tokens)} tokens, {encoded.cut} were left out",) if encoded.cut else ()
        # Without a mask the padding would be read.
        key = self.text.padded_length(encoded) if self.text.mask is None else None
        return Ready((text, encoded), key, len(encoded.tokens), notes)

    def feed(self, rows: Sequence[Ready]) -> dict[str, Array]:
        encoded: list[Encoded] = [row.value[1] for row in rows]
        return {name: np.ascontiguousarray(value) for name, value in self.text.batch(encoded).items()}


class FileFront:
    """Pictures or recordings, by their content."""

    def __init__(self, session: Session, kind: str) -> None:
        recipe = session.asset(kind)
        assert recipe is not None, "who asks has it"
        self._recipe: Mapping[str, Any] = recipe
        (self._spec,) = (spec for spec in session.inputs if spec.name == self._recipe["input"])
        self._kind = kind

    def prepare(self, rows: Sequence[Mapping[str, Any]]) -> list[Ready | AttnError]:
        return [_or_error(self.ready, row) for row in rows]

    def ready(self, row: Mapping[str, Any]) -> Ready:
        """InputError for what is no picture or recording."""
        content, notes = row["picture" if self._kind == "image" else "recording"]["content"], tuple[str, ...]()
        if self._kind == "image":
            array: Array = load_image(content, self._recipe)
        else:
            samples = self._spec.dims[1]
            wave = load_audio(content, self._recipe, samples.min, samples.max)
            array, notes = wave.samples, wave.notes
        return Ready(array, array.shape, array.size, notes)

    def feed(self, rows: Sequence[Ready]) -> dict[str, Array]:
        made = np.concatenate([row.value for row in rows])
        return {self._spec.name: np.ascontiguousarray(made, self._spec.dtype)}


class TensorFront:
    """Every input as it is."""

    def __init__(self, session: Session) -> None:
        self._needs = tensor_needs(session.inputs, session.where)

    def prepare(self, rows: Sequence[Mapping[str, Any]]) -> list[Ready | AttnError]:
        return [_or_error(self._ready, row) for row in rows]

    def _ready(self, row: Mapping[str, Any]) -> Ready:
        arrays = {need.name: array_of(row[need.name], need) for need in self._needs}
        return Ready(arrays, tuple(a.shape for a in arrays.values()), sum(a.size for a in arrays.values()))

    def feed(self, rows: Sequence[Ready]) -> dict[str, Array]:
        return {need.name: np.stack([row.value[need.name] for row in rows]) for need in self._needs}


def _or_error(make: Callable[[Mapping[str, Any]], Ready], row: Mapping[str, Any]) -> Ready | AttnError:
    try:
        return make(row)
    except InputError as error:
        return error


def tensor_needs(inputs: Sequence[TensorSpec], where: str) -> tuple[Need, ...]:
    """One for each input. UsageError where one has no axis of rows."""
    for spec in inputs:
        if not spec.dims:
            raise UsageError(f"{where}: {spec} has no axis of rows; attn-run run takes an .npz of all inputs")
    return tuple(
        Need(
            spec.name,
            "tensor",
            (spec.name,),
            dtype=spec.dtype,
            shape=tuple(-1 if d.dynamic else d.opt for d in spec.dims[1:]),
        )
        for spec in inputs
    )


def file_name(row: Mapping[str, Any], need: Need) -> str | None:
    """Where the picture or recording of a row lies; None of one that lies in the table."""
    value = row.get(need.name)
    return value.get(FILE) if isinstance(value, Mapping) else None
