"""The sentences of the translator as tokens: its tokenizer, and the parts that it is trained and tested on."""

from __future__ import annotations

import json
from functools import cache
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .grammar import Pair, pairs, split, vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
PAD, UNKNOWN, BEGIN, END = range(4)
LONGEST = 12  # tokens of a sentence, in either language
SEED = 20
PAIRS = 18_000
HELD_OUT = 1_000  # pairs each of validation and test
#: The example of the documentation is never trained on, in no spelling of it.
EXAMPLE = ("i am a student", "je suis étudiant")


@cache
def tokens() -> tuple[str, ...]:
    """Every token by its number: the special ones, then the words of both languages."""
    return (*SPECIAL, *vocabulary())


@cache
def tokenizer() -> Tokenizer:
    """Lower case; split at spaces, behind apostrophes and around punctuation; one token a word, others are <unk>.

    Decoding joins with spaces and takes out those that French does not write: j'ai un chien, je suis là.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    model = models.WordLevel({token: number for number, token in enumerate(tokens())}, unk_token=SPECIAL[UNKNOWN])
    made = Tokenizer(model)
    # An accent may come as a character of its own (NFC makes one of the two), an apostrophe as a typographic one.
    made.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Lowercase(), normalizers.Replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")]
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Split("'", "merged_with_previous"),
            *(pre_tokenizers.Split(mark, "isolated") for mark in ".?!,"),
        ]
    )
    # WordPiece without pieces: a space in front of every token but the first.
    made.decoder = decoders.Sequence(
        [
            decoders.WordPiece(prefix="##", cleanup=False),
            decoders.Fuse(),
            decoders.Replace("' ", "'"),
            decoders.Replace(" .", "."),
        ]
    )
    # Not <unk>: it stays in an answer, where the sentence has a word that is not known.
    made.add_special_tokens([SPECIAL[PAD], SPECIAL[BEGIN], SPECIAL[END]])
    return made


def assets() -> dict[str, Any]:
    """text.json and tokenizer.json of a bundle."""
    text = {"input": "source", "mask": "source_mask", "pad": PAD, "unknown": UNKNOWN}
    return {"text.json": text, "tokenizer.json": json.loads(tokenizer().to_str())}


@cache
def parts() -> tuple[tuple[Pair, ...], tuple[Pair, ...], tuple[Pair, ...]]:
    """Training, validation and test. No two parts share a sentence, English or French, in whatever spelling.

    Sentences of one French content (his dog, her dog: son chien) stay together, and so do all spellings of one
    English content, of which there is one only.
    """
    drawn = pairs(SEED, LONGEST)
    groups: dict[str, list[Pair]] = {EXAMPLE[1]: [Pair(*EXAMPLE, EXAMPLE)]}
    for _ in range(PAIRS):
        pair = next(drawn)
        if pair.content != EXAMPLE:
            groups.setdefault(pair.content[1], []).append(pair)
    example, *others = groups.values()
    Random(SEED).shuffle(others)
    made: list[list[Pair]] = [[], [], [*example]]
    for group in others:
        part = 2 if len(made[2]) < HELD_OUT else 1 if len(made[1]) < HELD_OUT else 0
        made[part] += group
    return tuple(made[0]), tuple(made[1]), tuple(made[2])


def sentence(seed: int, length: int) -> str:
    """An English sentence of `length` tokens, or the nearest to it of a few hundred."""
    drawn = islice(pairs(seed, LONGEST), 300)
    return min((pair.english for pair in drawn), key=lambda text: abs(len(split(text)) - length))


def encode(sentences: list[str], width: int, end: bool = False) -> Tensor:
    """Token numbers, int64 [n, width], padded at the end; `end` adds the token that ends an answer.

    Raises ValueError where a sentence has more than `width` tokens.
    """
    rows = [[*e.ids, END] if end else e.ids for e in tokenizer().encode_batch(sentences, add_special_tokens=False)]
    made = torch.full((len(rows), width), PAD, dtype=torch.int64)
    for number, row in enumerate(rows):
        if len(row) > width:
            raise ValueError(f"{sentences[number]!r} has {len(row)} tokens, more than {width}")
        made[number, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return made


def decode(row: Tensor) -> str:
    """The text of an answer's tokens, int64 [length]."""
    return str(tokenizer().decode(row.tolist(), skip_special_tokens=True))
