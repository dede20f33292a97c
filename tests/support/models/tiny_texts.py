"""A few words for the tiny generators, as the assets of a bundle that takes texts."""

from __future__ import annotations

from typing import Any

from support.models.tiny_generators import Tiny

WORDS = ["[PAD]", "[END]", "[UNK]", "the", "cat", "sat", "on", "a", "mat", ".", "dog", "ran", "far"]


def tokenizer(**changed: Any) -> dict[str, Any]:
    """assets/tokenizer.json"""
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": n, "content": WORDS[n], **special} for n in (0, 1)],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordLevel", "vocab": {word: n for n, word in enumerate(WORDS)}, "unk_token": "[UNK]"},
        **changed,
    }


#: Bytes of "caf", of é and of an emoji, as GPT-2's byte-level BPE writes them: tokens 3 to 12 of `byte_tokenizer`.
LETTERS = "cafÃ©ðŁĺĤĠ"


def byte_tokenizer() -> dict[str, Any]:
    """assets/tokenizer.json of a token a byte, so that tokens in any order are halves of characters as a rule."""
    vocab = {word: n for n, word in enumerate([*WORDS[:3], *LETTERS])}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    model = {"type": "BPE", "unk_token": "[UNK]", "vocab": vocab, "merges": []}
    return tokenizer(normalizer=None, pre_tokenizer=level, decoder=level, model=model)


def texts_of(tiny: Tiny, **changed: Any) -> dict[str, Any]:
    """assets/text.json alone, as `write_bundle` takes it."""
    names = ("source", "source_mask") if tiny.encoder else ("tokens", "tokens_mask")
    return {"text": dict(zip(("input", "mask"), names, strict=True)) | {"pad": 0, "unknown": 2} | changed}


def text_assets(tiny: Tiny) -> dict[str, Any]:
    """text and tokenizer, as `write_bundle` takes them."""
    return texts_of(tiny) | {"tokenizer": tokenizer()}
