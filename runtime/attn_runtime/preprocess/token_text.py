"""From tokens to a text alone, for models whose input is no text: by the bundle's assets tokenizer.json and ctc.json."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from ..errors import BundleError, UsageError
from ..escape import printable
from .tokenizer_file import read_tokenizer, refused_by_tokenizers


class TokenText:
    """Tokens of an answer to its text.

    Raises BundleError for a tokenizer that can't be read, BackendError where `tokenizers` is missing.
    """

    def __init__(self, tokenizer: Any, where: str) -> None:
        if tokenizer is None:
            raise UsageError(
                f"{where}: writes no texts: its assets lack tokenizer.json; attn-run run shows the outputs"
            )
        self.where = where
        self._tokenizer, _ = read_tokenizer(tokenizer, where)

    def decode(self, tokens: Iterable[int], special: bool = False) -> str:
        """The text of `tokens`; with `special` those that are none of a text (padding, stop) are written too."""
        with refused_by_tokenizers(f"{self.where}: asset tokenizer: can't write an answer"):
            return str(self._tokenizer.decode([int(token) for token in tokens], skip_special_tokens=not special))


class CtcText(TokenText):
    """The likeliest token of each frame to a text; `recipe` is the asset `ctc`.

    Graves et al., "Connectionist Temporal Classification" (2006), section 3.2: best path decoding.
    """

    def __init__(self, recipe: Mapping[str, Any], tokenizer: Any, where: str) -> None:
        super().__init__(tokenizer, where)
        self.blank, self._lower = int(recipe["blank"]), bool(recipe.get("lowercase", False))
        decoder = tokenizer.get("decoder") if isinstance(tokenizer, dict) else None
        own = decoder if isinstance(decoder, dict) and decoder.get("type") == "CTC" else {}
        self._merges, blank = bool(own), str(own.get("pad_token"))
        if self._merges and self._tokenizer.token_to_id(blank) != self.blank:
            raise BundleError(
                f"{where}: asset ctc: its blank is token {self.blank}, that of the tokenizer's decoder is "
                f"{printable(blank, 40)}; re-export the bundle"
            )

    def tokens(self, frames: Iterable[int]) -> list[int]:
        """Of equal tokens in a row one, without the blank."""
        return [token for token, _ in groupby(int(frame) for frame in frames) if token != self.blank]

    def text(self, frames: Iterable[int]) -> str:
        """The text of the likeliest tokens of the frames. Special tokens but the blank are written, as transformers does."""
        tokens = self.tokens(frames)
        if self._merges:
            # The decoder would merge what is twice in a word: as the model told them apart, so do we.
            pairs = zip([-1, *tokens], tokens, strict=False)
            tokens = [each for before, token in pairs for each in ([self.blank] * (token == before) + [token])]
        text = self.decode(tokens, special=True).strip()
        return text.lower() if self._lower else text
