"""generation_config.json -> assets/generation.json: begin, stop and pad alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def generation_rules(
    generation_config: Any,
    text_config: Any,
    vocabulary: int,
    encoder: bool,
    *,
    languages: Mapping[str, int] | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """Keys of the asset, and notes."""

    def of(name: str) -> Any:
        value = getattr(generation_config, name, None)
        return getattr(text_config, name, None) if value is None else value

    stop = of("eos_token_id")
    stop = [] if stop is None else stop if isinstance(stop, list) else [stop]
    pad, begin = of("pad_token_id"), of("decoder_start_token_id")
    return {
        "begin": (begin or 0) if encoder else None,
        "stop": [s for s in stop if 0 <= s < vocabulary],
        "pad": pad if pad is not None and 0 <= pad < vocabulary else 0,
    }, []


def language_tokens(special_tokens: Mapping[str, int]) -> dict[str, int]:
    """None: no languages are known."""
    return {}
