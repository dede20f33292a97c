"""Pieces of a text add up to it, whatever the tokenizer's decoder makes of the tokens that come later."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from attn_runtime.preprocess.text_stream import Beginnings, TextStream
from tokenizers import Tokenizer


def replaced(wanted: str, content: str, kind: str = "String") -> dict[str, Any]:
    return {"type": "Replace", "pattern": {kind: wanted}, "content": content}


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "decoders": list(steps)}


def metaspace(scheme: str) -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}


BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
FUSE, FALLBACK = {"type": "Fuse"}, {"type": "ByteFallback"}
WORD_PIECE = {"type": "WordPiece", "prefix": "##", "cleanup": True}
BPE = {"type": "BPEDecoder", "suffix": "</w>"}
CTC = {"type": "CTC", "pad_token": "-", "word_delimiter_token": "|", "cleanup": True}
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
LLAMA = sequence(replaced("▁", " "), FALLBACK, FUSE, STRIP)
CLEANED = sequence(FUSE, replaced(" .", "."), replaced("aab", "X"))
#: What is published with models, and what more there may be.
DECODERS = [None, BYTE_LEVEL, LLAMA, WORD_PIECE, BPE, CTC, metaspace("always"), metaspace("never"), CLEANED, sequence()]
STEPS = [
    *(BYTE_LEVEL, FUSE, FALLBACK, WORD_PIECE, BPE, CTC, STRIP, metaspace("always"), metaspace("never")),
    *(replaced("▁", " "), replaced(" .", "."), replaced("aa", "b"), replaced("a+", "b", "Regex")),
    {"type": "Strip", "content": "a", "start": 2, "stop": 0},
]


def alphabet() -> dict[int, str]:
    """Byte to the character that stands for it in byte-level BPE, as GPT-2 has it."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {byte: chr(256 + n) for n, byte in enumerate(others)}


LETTER = alphabet()
BYTES = b" .ab\0\n" + bytes.fromhex("c3a9e9a080f09f9882ffedefbfbd")
WORDS = list(
    dict.fromkeys(
        [
            *["[PAD]", "[UNK]", *(LETTER[byte] for byte in BYTES), LETTER[0xE9] + LETTER[0xA0]],
            *["é", "\ufffd", "a\ufffd", "▁a", "▁", "##b", "b</w>", "</w>a</w>", "  ", " .", "n't", "|", "-", "a."],
            *["<0x41>", "<0xE9>", "<0xA0>", "<0x80>", "<0xc3>", "<0xA9>", "<0x+5>", "<s>"],
        ]
    )
)


class Text:
    """What a `Text` has, of a vocabulary of `WORDS`."""

    def __init__(self, decoder: Any) -> None:
        plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
        added = [{"id": 0, "content": "[PAD]", **plain, "special": True}]
        added += [{"id": len(WORDS) + 2, "content": "é ü", **plain, "special": False}]
        model = {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(WORDS)}, "unk_token": "[UNK]"}
        whole = {"version": "1.0", "added_tokens": added, "decoder": decoder, "model": model}
        self._tokenizer = Tokenizer.from_str(json.dumps(whole))
        beginnings = Beginnings(self._tokenizer, decoder)
        self.word, self.beginning = beginnings.word, beginnings.of

    def decode(self, tokens: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))


def pieces(decoder: Any, words: Sequence[str | bytes]) -> list[str]:
    """What is told with each word (bytes: the token of that byte), and at the end."""
    tokens = [WORDS.index(word if isinstance(word, str) else LETTER[word[0]]) for word in words]
    stream = TextStream(Text(decoder))
    return [*(stream.add(token) for token in tokens), stream.end(tokens)]


@pytest.mark.parametrize(
    ("decoder", "words", "told"),
    [
        (BYTE_LEVEL, ["a", b"\xc3", b"\xa9", "b"], ["a", "", "é", "b", ""]),
        (BYTE_LEVEL, [b"\xf0", b"\x9f", b"\x98", b"\x82"], ["", "", "", "😂", ""]),
        (BYTE_LEVEL, ["a", b"\xc3"], ["a", "", "\ufffd"]),  # ended within a character
        (BYTE_LEVEL, [b"\xc3", b"\xc3", b"\xa9"], ["", "\ufffd", "é", ""]),  # bytes that stay invalid
        (BYTE_LEVEL, ["\ufffd", "a"], ["", "\ufffda", ""]),  # the vocabulary's own
        (BYTE_LEVEL, ["a", "[PAD]", "b"], ["a", "", "b", ""]),
        (LLAMA, ["▁a", "<0xE9>", "<0xA0>", "<0x80>", "▁a"], ["a", "", "", "", "\u9800 a", ""]),
        (LLAMA, ["<0x41>", "[PAD]", "<0xE9>"], ["", "", "", "\ufffd\ufffd"]),  # the A is taken back
        (LLAMA, ["<0x41>", "b"], ["", "Ab", ""]),
        (WORD_PIECE, ["a", "##b", ".", "[PAD]"], ["a", "b", ".", "", ""]),
        (CLEANED, ["a", "  ", ".", "a", "a"], ["", "a ", ".", "", "", "aa"]),
        (CTC, ["a", "a", "-", "a", "|"], ["a", "", "", "a", " ", ""]),
        (BPE, ["a", "b</w>", "a"], ["a", "b", " a", ""]),
        (sequence(FUSE, replaced("a+", "b", "Regex")), ["a", "a"], ["", "", "b"]),  # of unknown reach
        (None, ["a", "b"], ["a", " b", ""]),
        (sequence(), ["a", "b"], ["a", "b", ""]),
        (sequence(sequence()), ["a", "[PAD]", "b"], ["a", "", "b", ""]),
    ],
)
def test_what_a_later_token_changes_is_held_back(decoder: Any, words: list[str | bytes], told: list[str]) -> None:
    assert pieces(decoder, words) == told


@pytest.mark.parametrize("seed", range(2))
def test_pieces_add_up_to_the_text(seed: int) -> None:
    draw = random.Random(seed)
    drawn = [sequence(*draw.choices(STEPS, k=draw.randint(1, 4))) for _ in range(100)]
    tried = early = 0
    for decoder in DECODERS * 4 + drawn:
        text = Text(decoder)
        for _ in range(12):
            some = draw.sample(range(len(WORDS) + 3), draw.choice([2, 4, 8, 40]))
            tokens = draw.choices(some, k=draw.randint(0, 12))
            whole = text.decode(tokens)
            stream = TextStream(text)
            told = [stream.add(token) for token in tokens]
            assert "".join(told) + stream.end(tokens) == whole == stream.told, (decoder, tokens)
            tried, early = tried + len(whole), early + len("".join(told))
    assert tried > 5000 and early > 0.6 * tried  # most of it while the tokens come
