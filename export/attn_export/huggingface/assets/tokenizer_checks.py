"""What a tokenizer is held to before it goes into a bundle: transformers' own answers, the model's size, and texts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from attn_runtime.errors import UsageError
from attn_runtime.escape import printable
from attn_runtime.preprocess import refused_by_tokenizers

from ...quiet import captured_output
from .. import SavedModel
from .probe_texts import PAIRS, TEXTS
from .tokenizer_file import FILE, Library, named

#: Share of a text's characters from which on it counts as unknown.
_NEARLY_ALL = 0.95
#: How many entries of a vocabulary are written as text and read again.
_OWN_WORDS = 200


def held_against(saved: SavedModel, loaded: Library, pairs: bool) -> tuple[dict[str, Any], Any] | None:
    """The first of the folder's tokenizer.json and what transformers made of it that gives the tokens that transformers gives,
    special ones among them, for each of our texts and, with `pairs`, pairs of them; and the same, opened.

    None, with a note, where neither does. Raises UsageError for a tokenizer.json that `tokenizers` does not take.
    """
    wanted = [_asked(loaded.library, text) for text in (*TEXTS, *(PAIRS if pairs else ()))]
    if pairs and wanted[-1][2] is None:
        saved.notes.append(
            "transformers' tokenizer of the folder tells no token types: the model gets those that tokenizer.json tells"
        )
    first: str | None = None
    for tokenizer in (loaded.kept, loaded.made):
        if tokenizer is None:
            continue
        own = opened(saved, tokenizer)
        if loaded.foreign and tokenizer is loaded.made:
            wanted = _without_foreign(saved, own, tokenizer, wanted)
        differs = next(_differences(own, wanted, pairs), None)
        if differs is None:
            if first is not None:
                saved.notes.append(
                    f"{FILE} is not kept as it is, since transformers reads the folder otherwise: {first}; the bundle does what "
                    "transformers does"
                )
            _compare_answers(saved, loaded.library, own, wanted)
            return tokenizer, own
        first = first or differs
    kind = type(loaded.library).__name__
    saved.notes.append(
        f"no {FILE} makes the tokens that {kind} of transformers makes ({first}): the bundle takes tokens, no texts"
    )
    return None


def opened(saved: SavedModel, tokenizer: dict[str, Any]) -> Any:
    """As a runtime opens it: what is too long is not cut, and padding is for the batch at hand."""
    from tokenizers import Tokenizer

    what = f"{named(saved)}: {FILE} can't be read by the tokenizers library"
    with refused_by_tokenizers(what, UsageError, "save it again"):
        made = Tokenizer.from_str(json.dumps(tokenizer))
        made.no_truncation()
        made.no_padding()
        made.encode(TEXTS[0])
    return made


def _without_foreign(saved: SavedModel, own: Any, tokenizer: dict[str, Any], wanted: Sequence[Asked]) -> list[Asked]:
    """Without the texts of which both make the same but for what `own` does not know: words in letters that the source's model
    lacks, to which Marian's kin give the token of the other language's word, if they happen to be one."""
    unknown, kept, left = tokenizer["model"].get("unk_id"), [], 0
    for text, tokens, types in wanted:
        found = own.encode(text) if isinstance(text, str) else own.encode(*text)
        same = len(found.ids) == len(tokens) and all(a in (b, unknown) for a, b in zip(found.ids, tokens, strict=True))
        if not same or found.ids == tokens:
            kept.append((text, tokens, types))
        else:
            left += 1
    if left:
        saved.notes.append(
            "words in letters that the source's vocabulary lacks are unknown here; transformers gives a few of them tokens"
        )
    return kept if 2 * left < len(wanted) else list(wanted)


Asked = tuple[str | tuple[str, str], list[int], list[int] | None]


def _asked(library: Any, text: str | tuple[str, str]) -> Asked:
    """A text with the tokens and types that transformers makes of it."""
    with captured_output():
        given = (text,) if isinstance(text, str) else text
        found = library(*given, truncation=False, padding=False)
    return text, list(found["input_ids"]), found.get("token_type_ids")


def _differences(own: Any, wanted: Sequence[Asked], types: bool) -> Iterator[str]:
    for text, tokens, kinds in wanted:
        found = own.encode(text) if isinstance(text, str) else own.encode(*text)
        shown = printable(text if isinstance(text, str) else " | ".join(text), 40)
        if found.ids != tokens:
            yield f'"{shown}" is {_tokens(found.ids, tokens)} by one and {_tokens(tokens, found.ids)} by the other'
        elif types and kinds is not None and found.type_ids != list(kinds):
            yield f'the types of the tokens of "{shown}" differ'


def _tokens(tokens: Sequence[int], other: Sequence[int]) -> str:
    """A few, from the first one on that is not the other's."""
    at = next((n for n, (a, b) in enumerate(zip(tokens, other, strict=False)) if a != b), min(len(tokens), len(other)))
    told = " ".join(map(str, tokens[at : at + 4])) or "nothing"
    return f"{'... ' if at else ''}{told}{' ...' if at + 4 < len(tokens) else ''}"


def _compare_answers(saved: SavedModel, library: Any, own: Any, wanted: Sequence[Asked]) -> None:
    """A note where transformers writes the same tokens otherwise, as where it tidies spaces."""
    for _, tokens, _ in wanted:
        with captured_output():
            theirs = library.decode(tokens, skip_special_tokens=True)
        ours = own.decode(tokens, skip_special_tokens=True)
        if theirs.strip() != ours.strip():
            saved.notes.append(
                f'transformers writes some answers otherwise: "{printable(theirs, 40)}" where the bundle writes '
                f'"{printable(ours, 40)}"'
            )
            return


def check_size(saved: SavedModel, own: Any, rows: int) -> None:
    """UsageError where tokens lie beyond the `rows` of the model's embedding; a note where there are far fewer."""
    words: dict[str, int] = own.get_vocab(with_added_tokens=True)
    if not words:
        raise UsageError(f"{named(saved)}: its tokenizer has no words; save it again with tokenizer.save_pretrained")
    word, last = max(words.items(), key=lambda item: item[1])
    if rows and last >= rows:
        beyond = sum(number >= rows for number in words.values())
        raise UsageError(
            f"{named(saved)}: the tokenizer is of another size than the model: {beyond} of its tokens lie beyond the {rows} of "
            f'the model, as {last} "{printable(word, 40)}"; take the tokenizer that the model was trained with, or resize the '
            "model's embeddings and save it again"
        )
    if rows and last + 1 < rows:
        saved.notes.append(f"the tokenizer has {last + 1} tokens, the model {rows}: the last ones stand for no text")


def check_words(
    saved: SavedModel, loaded: Library, tokenizer: dict[str, Any], own: Any, rows: int, writes: bool
) -> bool:
    """Whether it is a tokenizer at all: not where it knows nearly nothing of our texts, nor of its own words, nor where it has
    far fewer words than its file. Notes say so, and tell of less. `writes` is whether the model answers in texts.

    transformers (5.23) makes an AlbertTokenizer of 5 words of a folder with a vocab.txt of 591, and a BertTokenizer of 5 where
    there is no file at all; neither says a word."""
    words: dict[str, int] = own.get_vocab(with_added_tokens=True)
    advice = "its vocabulary was not read, so the bundle takes tokens, no texts: save it with tokenizer.save_pretrained"
    for name, count in _entries(saved, loaded.files):
        if len(words) < 0.9 * count:
            kind = type(loaded.library).__name__
            saved.notes.append(
                f"{name} has {count} words, and transformers makes a {kind} of {len(words)} of it; {advice}"
            )
            return False
    model = tokenizer["model"]
    unknown = own.token_to_id(word) if isinstance(word := model.get("unk_token"), str) else model.get("unk_id")
    lost = _lost(own, TEXTS, unknown)
    told = f"{lost:.0%} of the characters of texts in many languages are unknown to the tokenizer"
    if lost >= _NEARLY_ALL:
        special = {entry["id"] for entry in tokenizer.get("added_tokens") or () if entry.get("special")}
        ids = sorted(set(words.values()) - special - {unknown})
        sample = [own.decode([token], skip_special_tokens=False) for token in ids[:: max(1, len(ids) // _OWN_WORDS)]]
        sample = [word for word in sample if word.strip()]
        if not sample or _lost(own, sample, unknown) >= 0.5:
            saved.notes.append(f"{told} of {len(words)} tokens (the model has {rows}); {advice}")
            return False
        saved.notes.append(f"{told}: it is of another alphabet")
    elif lost >= 0.5:
        saved.notes.append(told)
    if writes and lost < 0.5:
        _round_trip(saved, own)
    return True


def _entries(saved: SavedModel, files: Sequence[str]) -> Iterator[tuple[str, int]]:
    """How many words the files have that a tokenizer was made of."""
    if FILE in files:
        return
    if "vocab.txt" in files:
        with (saved.folder / "vocab.txt").open("rb") as lines:
            yield "vocab.txt", sum(1 for line in lines if line.strip())
    if "vocab.json" in files:
        yield "vocab.json", len(saved.read_json("vocab.json"))


def _lost(own: Any, texts: Sequence[str], unknown: int | None) -> float:
    """The share of characters, spaces apart, that no known token stands for."""
    all_of, known_of = 0, 0
    for text in texts:
        found = own.encode(text, add_special_tokens=False)
        known: set[int] = set()
        for token, (begin, end) in zip(found.ids, found.offsets, strict=True):
            if token != unknown:
                known.update(range(begin, end))
        seen = [place for place, character in enumerate(text) if not character.isspace()]
        all_of += len(seen)
        known_of += len(known.intersection(seen))
    return 1 - known_of / all_of if all_of else 1.0


def _round_trip(saved: SavedModel, own: Any) -> None:
    """A note where a plain text does not come back as it was."""
    text = "The small cat sat on a mat and saw a dog run far away."
    back = own.decode(own.encode(text).ids, skip_special_tokens=True)
    if back.strip() != text:
        saved.notes.append(
            f'a text does not come back from its tokens as it was: "{printable(back.strip(), 80)}" of "{text}"'
        )
