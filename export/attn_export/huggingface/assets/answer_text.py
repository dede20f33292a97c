"""tokenizer.json of a bundle whose answers are texts and whose input is none: of recordings, or of pictures.

A tokenizer that reads nothing only has to write: what it makes of drawn tokens is held against transformers' own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from attn_runtime.errors import AttnError
from attn_runtime.escape import printable
from attn_runtime.preprocess import CtcText, TokenText

from .. import SavedModel, words_of
from .tokenizer_file import made_by, read_by_transformers

#: Answers of drawn tokens, on which a converted tokenizer is held against the folder's own, and how long each is.
_ANSWERS, _LENGTH = 64, 40


def tokenizer_that_writes(saved: SavedModel, left: str) -> Any | None:
    """The folder's own, as transformers reads it; None, with a note that says what is `left`, where it has none or none that can
    be read here."""
    try:
        own = read_by_transformers(saved)
    except Exception as error:  # whatever a file that is not ours makes transformers raise
        saved.notes.append(f"no tokenizer ({words_of(error, 120)}): {left}")
        return None
    said = _said_delimiter(saved)
    if said is not None and said != getattr(own, "word_delimiter_token", said):
        # Wav2Vec2CTCTokenizer of transformers 5.23 saves its delimiter and takes its default again when it is loaded.
        saved.notes.append(
            f"the word delimiter is {printable(said)}, as the folder says; transformers goes by its default"
        )
        own._word_delimiter_token = said  # the property itself is taken for a special token, and sets another
    return own


def _said_delimiter(saved: SavedModel) -> str | None:
    said = saved.read_json("tokenizer_config.json").get("word_delimiter_token")
    said = said.get("content") if isinstance(said, dict) else said
    return said if isinstance(said, str) else None


def as_tokenizer_json(saved: SavedModel, own: Any, left: str, ctc: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """{"tokenizer.json": `own` in the form of the tokenizers library}, or with ctc.json's recipe what reads such a head's frames.

    {} where that would write drawn answers otherwise than `own` does, with a note that says what is `left`.
    """
    form = _converted(own, ctc or {})
    if form is not None:
        return {"tokenizer.json": form}
    saved.notes.append(
        f"tokenizer {type(own).__name__}: has no form as tokenizer.json that writes what it writes: {left}"
    )
    return {}


def _converted(own: Any, ctc: Mapping[str, Any]) -> dict[str, Any] | None:
    drawn = [tokens.tolist() for tokens in _drawn(len(own), ctc.get("blank"))]
    # As attn-run transcribe writes them: without spaces at either end.
    expected = [str(own.decode(tokens, skip_special_tokens=not ctc)).strip() for tokens in drawn]
    form = _form(own, ctc)
    try:
        text = CtcText(ctc, form, "the folder") if ctc else TokenText(form, "the folder")
        made = [text.text(tokens) if isinstance(text, CtcText) else text.decode(tokens).strip() for tokens in drawn]
    except AttnError:
        return None
    return form if made == expected else None


def _drawn(count: int, blank: int | None) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    random = np.random.default_rng(0)
    for _ in range(_ANSWERS):
        tokens = random.integers(0, count, _LENGTH)
        if blank is not None:  # runs of a token, and blanks between equal ones, as frames have them
            tokens = np.repeat(tokens, random.integers(1, 3, _LENGTH))
            tokens[random.random(len(tokens)) < 0.3] = blank
        yield tokens


def _form(own: Any, ctc: Mapping[str, Any]) -> dict[str, Any]:
    made = made_by(own)
    if made is not None:
        return made
    vocabulary = {str(own.convert_ids_to_tokens(token)): token for token in range(len(own))}
    if ctc:
        # It writes the delimiter as a space where it cleans up, which does nothing else to single characters.
        delimiter = ctc.get("word_delimiter", " ")
        decoder = {"type": "CTC", "pad_token": own.pad_token, "word_delimiter_token": delimiter, "cleanup": True}
        special = []
    else:
        decoder = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
        special = [token for token in own.all_special_ids if token < len(own)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(own, token) for token in dict.fromkeys(special)],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": decoder,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": str(own.unk_token or own.pad_token)},
    }


def _added(own: Any, token: int) -> dict[str, Any]:
    content = str(own.convert_ids_to_tokens(token))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token, "content": content, **flags}
