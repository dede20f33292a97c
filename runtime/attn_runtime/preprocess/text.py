"""From texts to the tokens that a model takes, and back: by the bundle's assets text.json and tokenizer.json.

The tokenizer is one of Hugging Face's format; the `tokenizers` library reads it, and is imported when a bundle is opened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import AttnError, BundleError, InputError, UsageError
from ..escape import printable
from ..files import bytes_or_path, irregular, reason
from ..spec import Dim, TensorSpec
from .text_stream import Beginnings, TextStream
from .tokenizer_file import read_tokenizer, refused_by_tokenizers

#: Largest file of texts that is read.
MAX_BYTES = 16 << 20


class HasAssets(Protocol):
    """A Session or a Generator."""

    where: str

    @property
    def inputs(self) -> tuple[TensorSpec, ...]: ...

    def asset(self, name: str) -> Any | None: ...


def open_text(source: Bundle | HasAssets) -> Text:
    """The tokenizer of a bundle, a session or a generator.

    Raises UsageError where it has none, BundleError where its assets do not fit, BackendError where `tokenizers` is missing.
    """
    if isinstance(source, Bundle):
        where = f"bundle {source.path.name}"
        inputs: Iterable[TensorSpec] = [spec for graph in source.graphs.values() for spec in graph.inputs]
    else:
        where, inputs = source.where, source.inputs
    recipe, tokenizer = source.asset("text"), source.asset("tokenizer")
    if recipe is None or tokenizer is None:
        missing = " and ".join(n for n, a in (("text.json", recipe), ("tokenizer.json", tokenizer)) if a is None)
        raise UsageError(f"{where}: takes no texts: its assets lack {missing}; attn-run run takes arrays")
    specs = {spec.name: spec for spec in inputs}
    for name, dtype in ((recipe["input"], "int64"), (recipe["mask"], "bool"), (recipe.get("types"), "int64")):
        if name is None:
            continue
        spec = specs.get(name)
        if spec is None or spec.dtype != dtype or len(spec.dims) != 2:
            raise BundleError(
                f"{where}: asset text: expected an input {printable(name)} of {dtype} [batch, length], found "
                f"{spec or ', '.join(specs)}; re-export the bundle"
            )
    made, beginnings = read_tokenizer(tokenizer, where)
    return Text(recipe, made, beginnings, specs[recipe["input"]].dims[1], where)


@dataclass(frozen=True)
class Encoded:
    """A text, or a pair of them, as tokens.

    tokens  int64 [length]
    types   int64 [length], which text of a pair a token is of, as the tokenizer tells it
    spans   the characters of its text that each token stands for: from, and up to
    texts   which text each is of, 0 or 1; None for a token that the tokenizer added
    cut     how many tokens were left out, since the model takes no more
    """

    tokens: NDArray[np.int64]
    types: NDArray[np.int64]
    spans: tuple[tuple[int, int], ...]
    texts: tuple[int | None, ...]
    cut: int = 0


class Text:
    """Texts to tokens and back.

    length      how many tokens a text may have, as the graph allows
    most        how many of them it may have at most: fewer where text.json says so
    mask        the name of the input that tells tokens from padding; None where the model has none
    mask_token  the token that stands for a word to be filled in, None where there is none
    """

    def __init__(self, recipe: Any, tokenizer: Any, beginnings: Beginnings, length: Dim, where: str) -> None:
        self.length, self.where, self._beginnings = length, where, beginnings
        self.most = min(length.max, recipe.get("max_length", length.max))
        self.mask: str | None = recipe["mask"]
        self.mask_token: int | None = recipe.get("mask_token")
        self._types, self._end = recipe.get("types"), recipe.get("truncation", "right")
        self._input, self._pad, self._unknown = (recipe[n] for n in ("input", "pad", "unknown"))
        self._tokenizer = tokenizer

    def encode(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """(tokens int64 [texts, longest], mask bool of the same shape), padded at the end.

        Raises InputError for a text without a token and for one of more than `most`.
        """
        return self._padded([self.encoded(text).tokens for text in texts])

    def inputs(self, texts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """`encode`, by the names of the graph's inputs; with the types of tokens where the model takes them."""
        return self.batch([self.encoded(text) for text in texts])

    def encoded(self, text: str, second: str | None = None, truncate: bool = False) -> Encoded:
        """One text, or a pair with `second` behind it. One of more than `most` tokens is cut with `truncate`.

        Raises InputError for a text that is empty, no Unicode, without a token, or of too many.
        """
        found, cut = self._encoded(text, second, truncate)
        return _as_encoded(found, cut)

    def encoded_each(
        self, texts: Sequence[str], seconds: Sequence[str | None] = (), truncate: bool = False, spans: bool = True
    ) -> list[Encoded | AttnError]:
        """`encoded` of many texts, in a fifth of the time; what is wrong with one is in its place.

        Without `spans`, what characters a token stands for is left out (`Encoded.spans` and `texts` are empty).
        """
        pairs = list(zip(texts, seconds or [None] * len(texts), strict=True))
        good = [n for n, pair in enumerate(pairs) if all(t is None or (t.strip() and _is_unicode(t)) for t in pair)]
        given = [pairs[n][0] if pairs[n][1] is None else pairs[n] for n in good]
        try:
            with self._told("can't read texts"):
                # Without spans the tokenizer need not count characters.
                encode = self._tokenizer.encode_batch if spans else self._tokenizer.encode_batch_fast
                made = dict(zip(good, encode(given), strict=True))
        except BundleError:  # which of them it is shows alone
            made = {}
        found: list[Encoded | AttnError] = []
        for number, (text, second) in enumerate(pairs):
            one = made.get(number)
            if one is not None and 0 < len(one) <= self.most:
                found.append(_as_encoded(one) if spans else self._without_spans(one))
                continue
            try:
                found.append(self.encoded(text, second, truncate))
            except (InputError, BundleError) as error:
                found.append(error)
        return found

    def _without_spans(self, found: Any) -> Encoded:
        tokens = np.array(found.ids, np.int64)
        types = np.zeros(len(tokens), np.int64) if self._types is None else np.array(found.type_ids, np.int64)
        return Encoded(tokens, types, (), ())

    def all_tokens(self, text: str) -> NDArray[np.int64]:
        """All tokens of a text, int64 [length], of however many: more, it may be, than the model takes at a time.

        Raises InputError for a text that is empty, no Unicode, or without a token.
        """
        return np.array(self._whole(text).ids, np.int64)

    def windows(self, first: str, second: str) -> list[Encoded]:
        """A pair of which the second text may be longer than the model takes: it is read in parts, which overlap by half of the
        room that the first one leaves. Raises InputError as `encoded` does, and for a first text that leaves no room.
        """
        whole = self._whole(first, second)
        if len(whole.ids) <= self.most:
            return [_as_encoded(whole)]
        with self._told("can't read a pair of texts"):
            others = len(self._tokenizer.encode(first, "").ids)
        room = self.most - others
        if room < 2:
            raise InputError(
                f'text "{printable(first, 40)}": has {others} tokens, of the {self.most} that the model takes; shorten it, '
                f"so that the text behind it finds room ({self.where})"
            )
        made = self._copy()
        made.enable_truncation(self.most, stride=room // 2, strategy="only_second")
        with self._told("can't read a pair of texts"):
            found = made.encode(first, second)
        return [_as_encoded(found), *map(_as_encoded, found.overflowing)]

    def batch(self, rows: Sequence[Encoded]) -> dict[str, NDArray[Any]]:
        """Rows as the graph's inputs by name, [rows, longest], padded at the end.

        Raises InputError for rows of different lengths where the model has no mask: it would read the padding. What a graph of
        a fixed length is padded to is part of what such a model was trained on (SigLIP), and is no difference.
        """
        tokens, mask = self._padded([row.tokens for row in rows])
        lengths = {self.padded_length(row) for row in rows}
        if self.mask is None and len(lengths) > 1:
            raise InputError(
                f"texts of {min(lengths)} to {max(lengths)} tokens: {self.where} has no mask that tells tokens from padding; "
                "give texts of one length at a time"
            )
        made: dict[str, NDArray[Any]] = {self._input: tokens}
        if self.mask is not None:
            made[self.mask] = mask
        if self._types is not None:
            made[self._types] = np.zeros_like(tokens)
            for into, row in zip(made[self._types], rows, strict=True):
                into[: len(row.types)] = row.types
        return made

    def padded_length(self, row: Encoded) -> int:
        """How many tokens the graph gets of a row that is alone."""
        return max(len(row.tokens), self.length.min)

    def _padded(self, rows: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        longest = max([len(row) for row in rows] + [self.length.min])
        tokens = np.full((len(rows), longest), self._pad, np.int64)
        mask = np.zeros((len(rows), longest), bool)
        for number, row in enumerate(rows):
            tokens[number, : len(row)] = row
            mask[number, : len(row)] = True
        return tokens, mask

    def unknown_words(self, text: str) -> list[str]:
        """The parts of `text` that the tokenizer does not know, as they are written there."""
        if self._unknown is None:
            return []
        found, _ = self._encoded(text, truncate=True)
        return [text[a:b] for token, (a, b) in zip(found.ids, found.offsets, strict=True) if token == self._unknown]

    def decode(self, tokens: Sequence[int] | NDArray[np.int64]) -> str:
        """The text of one row of tokens, without special ones (padding, stop)."""
        with self._told("can't write an answer"):
            return str(self._tokenizer.decode([int(token) for token in tokens], skip_special_tokens=True))

    def word(self, token: int) -> str | None:
        """What the vocabulary calls a token that is part of a text; None for a special one, and where it knows none."""
        return self._beginnings.word(token)

    def beginning(self, words: Sequence[str]) -> str:
        """As much of the text of `words`, each as `word` tells it, as no further word changes."""
        with self._told("can't write an answer"):
            return self._beginnings.of(words)

    def stream(self) -> TextStream:
        """For a row whose tokens come one by one: pieces that add up to what `decode` tells of all of them."""
        return TextStream(self)

    def names(self, tokens: Sequence[int] | NDArray[np.int64]) -> list[str]:
        """What the vocabulary calls each token, special ones too; a number without a name is told as it is."""
        found = [self._tokenizer.id_to_token(int(token)) for token in tokens]
        return [f"[{token}]" if name is None else str(name) for name, token in zip(found, tokens, strict=True)]

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What the tokenizer itself can't do, as a word without a token for unknown ones, is the bundle's fault."""
        with refused_by_tokenizers(f"{self.where}: asset tokenizer: {what}"):
            yield

    def _whole(self, *given: str) -> Any:
        """What the tokenizer makes of a text, or of a pair, however long."""
        allowed = f"{self.length.min}..{self.most} tokens"
        for each in given:
            shown = f'text "{printable(each, 40)}"'
            if not each.strip():
                raise InputError(f"{shown}: is empty; expected {allowed} ({self.where})")
            if not _is_unicode(each):
                raise InputError(f"{shown}: is not valid Unicode: it holds half of a character ({self.where})")
        shown = _shown(given)
        with self._told(f"can't read {shown}"):
            found = self._tokenizer.encode(*given)
        if not found.ids:
            raise InputError(f"{shown}: the tokenizer finds no token in it ({self.where})")
        return found

    def _encoded(self, text: str, second: str | None = None, truncate: bool = False) -> tuple[Any, int]:
        """What the tokenizer makes of it, and how many tokens of that were cut."""
        given = (text,) if second is None else (text, second)
        found = self._whole(*given)
        if (count := len(found.ids)) <= self.most:
            return found, 0
        shown = _shown(given)
        if not truncate:
            raise InputError(
                f"{shown}: has {count} tokens; expected {self.length.min}..{self.most}: shorten it or cut it "
                f"in two ({self.where})"
            )
        with self._told(f"can't cut {shown}"):
            found = self._cutting.encode(*given)
        return found, count - len(found.ids)

    @cached_property
    def _cutting(self) -> Any:
        """The tokenizer that cuts what is too long: a second one, since another thread may be using the first."""
        made = self._copy()
        made.enable_truncation(self.most, direction=self._end)
        return made

    def _copy(self) -> Any:
        return type(self._tokenizer).from_str(self._tokenizer.to_str())


def _is_unicode(text: str) -> bool:
    """Whether it holds no half of a surrogate pair. To write it is many times as fast as to look at each character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(given: Sequence[str]) -> str:
    return " with ".join(f'text "{printable(each, 40)}"' for each in given)


def _as_encoded(found: Any, cut: int = 0) -> Encoded:
    """An Encoding of `tokenizers`."""
    tokens, types = np.array(found.ids, np.int64), np.array(found.type_ids, np.int64)
    return Encoded(tokens, types, tuple(found.offsets), tuple(found.sequence_ids), cut)


def read_lines(file: str, blank: bool = True) -> list[str]:
    """The lines of a UTF-8 file, or of what is piped in: "-", /dev/stdin and what a shell makes of <(...).

    They end with \\n or \\r\\n alone, as other programs count lines. With `blank` those without a text are among them. Raises
    InputError for what can't be read or holds no text.
    """
    source = bytes_or_path(file, "texts", MAX_BYTES, typed=True)
    name = f"file {source.name}" if isinstance(source, Path) else f"texts of {file}"
    try:
        data = source if isinstance(source, bytes) else _bytes_of(source)
        if len(data) > MAX_BYTES:
            raise InputError(f"{name}: more than {MAX_BYTES} bytes; split it")
        lines = data.decode("utf-8-sig").split("\n")
        last = lines.pop()  # what follows the last line end: mostly nothing
        lines = [line.removesuffix("\r") for line in lines] + ([last] if last else [])
    except FileNotFoundError:
        raise InputError(f"file {file}: there is no such file") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise InputError(f"{name}: line {line} is no UTF-8 text (byte {error.start}); convert it") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{name}: can't be read: {reason(error)}") from error
    if not any(line.strip() for line in lines):
        raise InputError(f"{name}: holds no text")
    return lines if blank else [line for line in lines if line.strip()]


def _bytes_of(file: Path) -> bytes:
    if problem := irregular(file):
        raise InputError(f"file {file}: {problem}; give a text file, or pipe it into -")
    with file.open("rb") as reader:
        return reader.read(MAX_BYTES + 1)
