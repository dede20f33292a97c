"""tokenizer.json drawn at random: every part that C++ reads, in any order and with any option, over a few letters."""

from __future__ import annotations

from random import Random
from typing import Any

LETTERS = list("aabbccé漢🙂 \u2581\u0120.'")
OWN = ["<a>", "<A>", "X", "ab", "a b", " ", "\u2581a", "é", "b ", "A"]
Part = dict[str, Any]


def drawn_tokenizer(draw: Random) -> Part:
    """The whole file. Parts are those of `tokenizers`; what it would refuse is not drawn."""
    model = draw.choice([_bpe, _bpe, _unigram, _word_piece, _word_level])(draw)
    tokens = tokens_of(model)
    lower = draw.random() < 0.4
    splits = {"type": "Split", "pattern": {"String": "\u2581"}, "behavior": "MergedWithNext", "invert": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _added(draw, tokens, len(model["vocab"]), lower),
        "normalizer": {"type": "Lowercase"} if lower else None,
        "pre_tokenizer": draw.choice([None, {"type": "WhitespaceSplit"}, splits]),
        "post_processor": _post_processor(draw, len(tokens)),
        "decoder": _decoder(draw) if draw.random() < 0.9 else None,
        "model": model,
    }


def tokens_of(model: Part) -> dict[str, int]:
    """Each word of a model and its token."""
    vocab = model["vocab"]
    return vocab if isinstance(vocab, dict) else {word: n for n, (word, _) in enumerate(vocab)}


def drawn_text(draw: Random, words: list[str]) -> str:
    some = [*LETTERS, "A", "\n", " ", *draw.choices(words, k=9)]
    return "".join(draw.choices(some, k=draw.randrange(14)))


def _flag(draw: Random, share: float = 0.5) -> bool:
    return draw.random() < share


def _words(draw: Random, count: int) -> list[str]:
    return ["".join(draw.choices(LETTERS, k=draw.randrange(1, 4))) for _ in range(count)]


def _bytes(draw: Random) -> list[str]:
    """The words of byte fallback, now and then not all of them."""
    share = draw.choice([0.0, 1.0, 0.95])
    return [f"<0x{byte:02X}>" for byte in range(256) if _flag(draw, share)]


def _bpe(draw: Random) -> Part:
    prefix, suffix = draw.choice([None, "", "##", "é"]), draw.choice([None, "", "</w>"])
    before, behind = prefix or "", suffix or ""
    letters = draw.sample(sorted(set(LETTERS)), draw.randrange(2, 9))
    forms = [("", ""), (before, ""), ("", behind), (before, behind)]
    words = ["<u>", *(front + each + back for front, back in forms for each in letters), *_bytes(draw)]
    words = list(dict.fromkeys(words))
    merges: list[Any] = []
    for _ in range(draw.randrange(25)):
        left, right = draw.choice(words), draw.choice(words)
        whole = left + right[len(before) :]
        if right.startswith(before) and len(whole) < 24:
            merges.append([left, right])
            words += [whole] if whole not in words else []
    merges += merges[:1] if _flag(draw, 0.3) else []
    if _flag(draw, 0.3):
        merges = [" ".join(merge) for merge in merges if " " not in "".join(merge)]
    tokens = list(range(len(words)))
    if _flag(draw):
        draw.shuffle(tokens)
    return {
        "type": "BPE",
        "dropout": None,
        "unk_token": draw.choice([None, "<u>", "<u>"]),
        "continuing_subword_prefix": prefix,
        "end_of_word_suffix": suffix,
        "fuse_unk": _flag(draw),
        "byte_fallback": _flag(draw),
        "ignore_merges": _flag(draw, 0.4),
        "vocab": dict(zip(words, tokens, strict=True)),
        "merges": merges,
    }


def _unigram(draw: Random) -> Part:
    words = ["<u>", *_words(draw, draw.randrange(5, 40)), *_bytes(draw)]  # some of them twice
    most = draw.choice([0, 14])  # with scores above 0 an unknown character may be worth its price
    scores = [draw.choice([round(draw.uniform(-12, most), 3), -3.0, float(draw.randrange(-8, 1))]) for _ in words]
    vocab = [[word, score] for word, score in zip(words, scores, strict=True)]
    return {"type": "Unigram", "unk_id": 0 if _flag(draw, 0.9) else None, "vocab": vocab, "byte_fallback": _flag(draw)}


def _word_piece(draw: Random) -> Part:
    prefix = draw.choice(["##", "", "é"])
    words = dict.fromkeys(["<u>", *_words(draw, 15), *(prefix + word for word in _words(draw, 15))])
    return {
        "type": "WordPiece",
        "unk_token": "<u>",
        "continuing_subword_prefix": prefix,
        "max_input_chars_per_word": draw.choice([3, 8, 100]),
        "vocab": {word: n for n, word in enumerate(words)},
    }


def _word_level(draw: Random) -> Part:
    words = dict.fromkeys(["<u>", *_words(draw, 25)])
    return {"type": "WordLevel", "unk_token": "<u>", "vocab": {word: n for n, word in enumerate(words)}}


def _added(draw: Random, tokens: dict[str, int], following: int, lower: bool) -> list[Part]:
    words = draw.sample(sorted(tokens), min(len(tokens), draw.randrange(4)))
    found: list[Part] = []
    seen = set()
    for word in dict.fromkeys([*words, *draw.sample(OWN, draw.randrange(6))]):
        flags = {key: _flag(draw, 0.3) for key in ("single_word", "lstrip", "rstrip", "normalized", "special")}
        key = (word.lower() if lower and flags["normalized"] else word, flags["normalized"])
        if key in seen:
            continue
        seen.add(key)
        token = tokens.get(word, following)
        following += word not in tokens
        found.append({"id": token, "content": word, **flags})
    return found


def _post_processor(draw: Random, most: int) -> Part | None:
    kind = draw.randrange(6)
    ends = {key: [f"<{key}>", draw.randrange(most)] for key in ("sep", "cls")}
    level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": _flag(draw), "use_regex": True}
    bert = {"type": "BertProcessing", **ends}
    made: list[Part | None] = [
        None,
        bert,
        {"type": "RobertaProcessing", **ends, "trim_offsets": _flag(draw), "add_prefix_space": _flag(draw)},
        level,
        {"type": "Sequence", "processors": [level, bert]},
        _template(draw, most),
    ]
    return made[kind]


def _template(draw: Random, most: int) -> Part:
    special = {
        name: {"id": name, "ids": [draw.randrange(most) for _ in range(count)], "tokens": ["x"] * count}
        for name, count in (("<p>", 1), ("<q>", 2))
    }

    def pieces(*sequences: str) -> list[Part]:
        made = []
        for sequence in (*sequences, None):
            for _ in range(draw.randrange(3)):
                made.append({"SpecialToken": {"id": draw.choice(["<p>", "<q>"]), "type_id": draw.randrange(3)}})
            if sequence:
                made.append({"Sequence": {"id": sequence, "type_id": draw.randrange(3)}})
        return made

    pair = pieces(*draw.choice(["AB", "BA"]))
    return {"type": "TemplateProcessing", "single": pieces("A"), "pair": pair, "special_tokens": special}


def _decoder(draw: Random, depth: int = 0) -> Part:
    if depth < 2 and _flag(draw, 0.3):
        return {"type": "Sequence", "decoders": [_decoder(draw, depth + 1) for _ in range(draw.randrange(4))]}
    scheme = draw.choice(["always", "first", "never"])
    replaced = draw.choice([*({"String": each} for each in ("\u2581", "a", "ab", "</w>")), {"Regex": "^a|[bc]+"}])
    steps: list[Part] = [
        {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": True},
        {"type": "WordPiece", "prefix": draw.choice(["##", "é"]), "cleanup": _flag(draw)},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Replace", "pattern": replaced, "content": draw.choice([" ", "", "ba"])},
        {"type": "Strip", "content": draw.choice([" ", "a"]), "start": draw.randrange(3), "stop": 0},
        {"type": "BPEDecoder", "suffix": draw.choice(["</w>", "a"])},
        {"type": "CTC", "pad_token": draw.choice(["<u>", "b"]), "word_delimiter_token": "|", "cleanup": _flag(draw)},
    ]
    return draw.choice(steps)
