"""A text while its tokens come: pieces that add up to it, with what a later token may change held back.

Half a character is such a thing (byte-level BPE), a row of bytes that is read as a whole (SentencePiece's byte fallback), and
the beginning of what a decoder replaces. tokenizers' own DecodeStream drops what is unfinished at the end, and fails at
bytes that are no UTF-8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import takewhile
from typing import Any, Protocol

#: Steps of a decoder that take words one by one, and those behind which there is only one text.
_OF_WORDS = ("WordPiece", "BPEDecoder", "Metaspace", "CTC", "Replace", "Strip", "ByteFallback")
_FUSING = ("Fuse", "ByteLevel")
_BYTE = re.compile(r"<0x..>", re.DOTALL)
_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class Decodes(Protocol):
    """A Text."""

    def word(self, token: int) -> str | None: ...

    def beginning(self, words: Sequence[str]) -> str: ...

    def decode(self, tokens: Sequence[int]) -> str: ...


class TextStream:
    """The text of one row of tokens, as they come. What `add` and `end` return adds up to the text that `decode` tells.

    told  what they have returned until now
    """

    def __init__(self, text: Decodes) -> None:
        self._text, self.told = text, ""
        self._words: list[str] = []

    def add(self, token: int) -> str:
        """What the text surely grows by with this token; "" where a further one may change it."""
        word = self._text.word(token)
        if word is None:
            return ""
        self._words.append(word)
        return self._grown(self._text.beginning(self._words))

    def end(self, tokens: Sequence[int]) -> str:
        """The rest of the text of all `tokens`."""
        return self._grown(self._text.decode(tokens))

    def _grown(self, text: str) -> str:
        piece, self.told = text[len(self.told) :], text
        return piece


class Beginnings:
    """How much of a text is sure, by the `decoder` of tokenizer.json. Of steps whose reach can't be told, nothing is."""

    def __init__(self, tokenizer: Any, decoder: Any) -> None:
        """`tokenizer` is a `tokenizers.Tokenizer`, `decoder` its decoder as in the file."""
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder().values()
        self._special = {token.content for token in added if token.special}
        steps = _flat(decoder)
        kinds = [step["type"] for step in steps]
        fused = next((n + 1 for n, kind in enumerate(kinds) if kind in _FUSING), len(steps))
        first, self._behind = steps[:fused], [(_replaced(step), _decoder([step])) for step in steps[fused:]]
        before = steps[: kinds.index("ByteFallback")] if "ByteFallback" in kinds else []
        self._unsure = not (
            all(kind in (*_OF_WORDS, *_FUSING) for kind in kinds)
            and all(map(_reaches_back_little, steps[fused:]))
            and kinds.count("ByteFallback") <= 1
            and ("BPEDecoder" not in kinds or {*kinds} <= {"BPEDecoder", "Fuse"})
            and all(step["type"] in ("Replace", "Metaspace") for step in before)
        )
        # Without a decoder words are joined by spaces, with one of no steps by nothing.
        self._words = None if decoder is None else _decoder(first)
        self._bytes = _decoder(before) if "ByteFallback" in kinds else None
        self._ends_words, self._of_bytes = "BPEDecoder" in kinds, "ByteLevel" in kinds

    def word(self, token: int) -> str | None:
        """What the vocabulary calls a token; None for a special one, and where it knows none."""
        found: str | None = self._tokenizer.id_to_token(token)
        return None if found in self._special else found

    def of(self, words: Sequence[str]) -> str:
        """The beginning of the text of `words` that is the same whatever words follow."""
        if self._unsure:
            return ""
        count = len(words)
        while self._bytes is not None and count and _BYTE.search(self._bytes.decode([words[count - 1]])):
            count -= 1  # one byte more may make all of them invalid
        if not count:
            return ""
        words = words[:count]
        if self._words is None:
            return " ".join(words)
        text: str = self._words.decode(words)
        if self._ends_words:  # the last word is written otherwise than those before it
            both = zip(text, self._words.decode([*words, ""]), strict=False)
            text = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], both))
        if self._of_bytes:
            text = text.removesuffix(_UNFINISHED)
        for replaced, step in self._behind:
            text = text[: len(text) - _begun(text, replaced)] if replaced else text
            text = step.decode([text])
        return text


def _flat(decoder: Any) -> list[dict[str, Any]]:
    if decoder is None:
        return []
    if decoder["type"] != "Sequence":
        return [decoder]
    return [step for each in decoder["decoders"] for step in _flat(each)]


def _decoder(steps: Sequence[dict[str, Any]]) -> Any:
    """A `tokenizers.decoders.Decoder`. Only a whole tokenizer is read from JSON."""
    from tokenizers import Tokenizer

    model = {"type": "WordLevel", "vocab": {}, "unk_token": ""}
    decoder = {"type": "Sequence", "decoders": list(steps)}
    return Tokenizer.from_str(json.dumps({"version": "1.0", "model": model, "decoder": decoder})).decoder


def _replaced(step: dict[str, Any]) -> str:
    return str(step["pattern"].get("String", "")) if step["type"] == "Replace" else ""


def _reaches_back_little(step: dict[str, Any]) -> bool:
    """Whether a step behind the fusing one changes no more of the text's end than the beginning of what it replaces."""
    kind = step["type"]
    return kind in ("Fuse", "Metaspace") or bool(_replaced(step)) or (kind == "Strip" and step["stop"] == 0)


def _begun(text: str, wanted: str) -> int:
    """How many characters at the end of `text`, behind its last match, may be the beginning of another."""
    rest = text.split(wanted)[-1]
    return next(n for n in range(min(len(wanted) - 1, len(rest)), -1, -1) if rest.endswith(wanted[:n]))
