"""The nearest name to a misspelt one, for error messages."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``"did you mean batch? "``, or an empty string when nothing is near."""
    near = get_close_matches(name, list(known), 1)
    return f"did you mean {near[0]}? " if near else ""
