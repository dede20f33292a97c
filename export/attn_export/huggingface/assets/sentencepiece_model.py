"""A tokenizer.json for tokenizers that transformers has in Python alone, around a sentencepiece model: Marian, M2M100, kin.

What it makes of texts is compared with transformers before it is kept, as any other.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

_SPACE = "\u2581"
#: Scores that no path through a text has that can do without them: of a letter of the other language, and of a word of it.
_LETTER, _WORD = -1e4, -1e6
#: What stands for characters that the source's model does not know: of private use, and in no vocabulary.
_FOREIGN = "\U000f0000"


def from_sentencepiece(library: Any) -> dict[str, Any] | None:
    """The tokenizer of `library`, with its own numbers and special tokens; None where it has no sentencepiece model inside."""
    processor = next((v for v in vars(library).values() if type(v).__name__ == "SentencePieceProcessor"), None)
    if processor is None:
        return None
    from transformers.convert_slow_tokenizer import SpmConverter, import_protobuf
    from transformers.tokenization_utils_base import generate_merges

    proto = import_protobuf().ModelProto()
    proto.ParseFromString(processor.serialized_model_proto())
    words = _words(library)
    # Scores of the source's pieces: the vocabulary may be that of both languages.
    scores = {piece.piece: piece.score for piece in proto.pieces if piece.type in (1, 4)}
    unknown = library.unk_token_id
    if proto.trainer_spec.model_type == 1:
        vocabulary = [(word, scores.get(word, _LETTER if len(word) == 1 else _WORD)) for word in words]
        made = SpmConverter.build_tokenizer_from_spm_proto(proto, vocabulary)
    else:
        numbered = {word: number for number, word in enumerate(words)}
        ranked = {piece.piece: n for n, piece in enumerate(proto.pieces)}
        merges = [(a, b) for a, b in generate_merges(ranked) if {a, b, a + b} <= set(numbered)]
        made = SpmConverter.build_tokenizer_from_spm_proto(proto, numbered, merges)
    value: dict[str, Any] = json.loads(made.to_str())
    if "unk_id" in value["model"]:
        value["model"]["unk_id"] = unknown
    else:
        value["model"]["unk_token"] = library.unk_token
    value["normalizer"]["normalizers"] = [*_spaces(proto), *_foreign(proto, words, scores)]
    value["pre_tokenizer"] = {"type": "Metaspace", "replacement": _SPACE, "prepend_scheme": "always", "split": False}
    value["decoder"] = dict(value["pre_tokenizer"])
    if proto.trainer_spec.byte_fallback:
        spaces = {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "}
        first = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
        value["decoder"] = {"type": "Sequence", "decoders": [spaces, {"type": "ByteFallback"}, {"type": "Fuse"}, first]}
    value["added_tokens"] = [
        _added(number, words[number], special=True) for number in sorted(set(library.all_special_ids))
    ]
    codes = [n for n, word in enumerate(words) if re.fullmatch(">>[^<>]+<<", word)]
    value["added_tokens"] += [_added(number, words[number], special=False) for number in codes]
    value["post_processor"] = _template(library, words)
    return value


def _words(library: Any) -> list[str]:
    """By number; a number that no word has gets a name that no text holds."""
    # Some call a number without a word by the word for unknown ones.
    named = {n: word for word, n in library.get_vocab().items() if library.convert_tokens_to_ids(word) == n}
    added = {*library.all_special_ids, *library.build_inputs_with_special_tokens([])}
    named |= {number: library.convert_ids_to_tokens(number) for number in added}
    return [named.get(number, f"{_FOREIGN}{number}") for number in range(max(named) + 1)]


def _spaces(proto: Any) -> list[dict[str, Any]]:
    """sentencepiece's own normalisation, and what it does to spaces."""
    import base64

    spec = proto.normalizer_spec
    steps: list[dict[str, Any]] = []
    if spec.precompiled_charsmap:
        steps.append(
            {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(spec.precompiled_charsmap).decode()}
        )
    if spec.remove_extra_whitespaces:
        steps.append({"type": "Strip", "strip_left": True, "strip_right": True})
        steps.append({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})
    return steps


def _foreign(proto: Any, words: Sequence[str], scores: dict[str, float]) -> list[dict[str, Any]]:
    """What the source's model does not know is one unknown word where it is several letters in a row, and a letter alone where
    the vocabulary has it, whatever words of the other language are in it: as sentencepiece tells it and Marian looks it up."""
    if proto.trainer_spec.model_type != 1:
        return []
    known = {character for piece in scores for character in piece} | {" ", _SPACE}
    letters = known | {word for word in words if len(word) == 1}
    pattern = f"[^{_inside(known)}]{{2,}}|[^{_inside(letters)}]"
    return [{"type": "Replace", "pattern": {"Regex": pattern}, "content": _FOREIGN}]


def _inside(characters: Iterable[str]) -> str:
    """Of a class in a regular expression; neighbours as a range."""
    points = sorted(map(ord, characters))
    told, begin = [], 0
    for at, point in enumerate(points):
        if at + 1 == len(points) or points[at + 1] != point + 1:
            first, last = (re.sub(r"[\[\]\\^&-]", r"\\\g<0>", chr(value)) for value in (points[begin], point))
            told.append(first if first == last else f"{first}-{last}")
            begin = at + 1
    return "".join(told)


def _added(number: int, word: str, special: bool) -> dict[str, Any]:
    kind = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    return {"id": number, "content": word, **kind}


def _template(library: Any, words: Sequence[str]) -> dict[str, Any]:
    """Where special tokens stand around one text and around two, as `build_inputs_with_special_tokens` tells."""
    one, other = -1, -2
    single = library.build_inputs_with_special_tokens([one])
    pair = library.build_inputs_with_special_tokens([one], [other])

    def parts(row: Sequence[int]) -> list[dict[str, Any]]:
        named = {one: "A", other: "B"}
        return [
            {"Sequence": {"id": named[token], "type_id": 0}}
            if token in named
            else {"SpecialToken": {"id": words[token], "type_id": 0}}
            for token in row
        ]

    special = {words[t]: {"id": words[t], "ids": [t], "tokens": [words[t]]} for t in {*single, *pair} if t >= 0}
    return {"type": "TemplateProcessing", "single": parts(single), "pair": parts(pair), "special_tokens": special}
