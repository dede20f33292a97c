"""The bundle's asset tokenizer.json as a tokenizer of the `tokenizers` library, which is imported when one is read."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import AttnError, BackendError, BundleError
from ..escape import printable
from .text_stream import Beginnings

#: Most that a tokenizer's replacements may lengthen a text: nine of "a" by twenty letters each would fill any memory.
_MOST_GROWTH = 4096


def read_tokenizer(value: Any, where: str) -> tuple[Any, Beginnings]:
    """The tokenizer of the asset `value`, which neither cuts nor pads, and what it makes of beginnings of a text.

    Raises BundleError for one that can't be read or is dangerous, BackendError where `tokenizers` is missing.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise BackendError("texts need the tokenizers library; pip install tokenizers") from error
    if _growth(value) > _MOST_GROWTH:
        raise BundleError(
            f"{where}: asset tokenizer: its replacements may make a text more than {_MOST_GROWTH} times as long; "
            "re-export the bundle"
        )
    if isinstance(value, dict) and _strips_the_end(value.get("decoder")):
        raise BundleError(
            f"{where}: asset tokenizer: its decoder is a Strip with a `stop`, at which the tokenizers library fails where an "
            "answer is shorter; expected a `stop` of 0: change tokenizer.json, and re-export the bundle"
        )
    with refused_by_tokenizers(f"{where}: asset tokenizer"):
        tokenizer = Tokenizer.from_str(json.dumps(value))
        # A text that is too long is refused, not cut; padding is for the batch at hand.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return tokenizer, Beginnings(tokenizer, value.get("decoder"))


@contextmanager
def refused_by_tokenizers(
    what: str, kind: type[AttnError] = BundleError, way: str = "re-export the bundle"
) -> Iterator[None]:
    """An error of `kind`, opened by `what` and ended by `way`, for whatever the library raises."""
    try:
        yield
    except BaseException as error:  # a panic inside the library is no Exception
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        told = " ".join(str(error).split())
        raise kind(f"{what}: {printable(told, 160)}; {way}") from error


def _strips_the_end(decoder: Any) -> bool:
    """Whether a step cuts characters from the end of a text: tokenizers (0.23) panics where there are fewer, and an answer
    may be empty. A panic is printed before anyone can catch it."""
    if not isinstance(decoder, dict):
        return False
    steps = decoder.get("decoders")
    stop = decoder.get("stop") if decoder.get("type") == "Strip" else 0
    return bool(stop) or (isinstance(steps, list) and any(map(_strips_the_end, steps)))


def _growth(value: Any) -> int:
    """How many times as long the replacements in a tokenizer, one after the other, may make a text."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = value.get("content") if isinstance(value, dict) and value.get("type") == "Replace" else None
    return math.prod(map(_growth, parts), start=max(1, len(own)) if isinstance(own, str) else 1)
