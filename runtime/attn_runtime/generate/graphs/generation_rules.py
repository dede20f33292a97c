"""What assets/generation.json says of answers: how they begin, which tokens are not chosen, and what is done by default."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import UsageError, did_you_mean
from ...escape import printable


@dataclass(frozen=True)
class Choice:
    """A token of `begin` that the caller chooses by a name, such as the language to translate into: that at `place`, or the one
    behind its end where `place` is its length."""

    place: int
    tokens: Mapping[str, int]


@dataclass(frozen=True)
class Defaults:
    """What a generation does where its caller says nothing. `max_new` and `min_new` count the tokens of an answer, `max_length`
    and `min_length` those of a row, prompt or begin included; None for no limit. `sample` is None where no tokens are drawn."""

    max_new: int | None = None
    max_length: int | None = None
    min_new: int = 0
    min_length: int = 0
    beams: int = 1
    length_penalty: float = 1.0
    early_stop: bool = False
    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    sample: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class GenerationRules:
    """begin             what every answer begins with and is no part of it; None for a decoder-only model
    uncounted         how many tokens of begin do not count into the length that a score is divided by
    choices           what of begin is chosen by name
    suppress          tokens that are never chosen; suppress_first: not as the first of an answer
    encoder_no_repeat_ngram  no so many tokens in a row of what the encoder read (or of the prompt) are written; 0 for no rule
    forced_end        where a row is full its last token is one of these; () for no such rule
    """

    begin: tuple[int, ...] | None = None
    uncounted: int = 0
    choices: Mapping[str, Choice] = field(default_factory=dict)
    suppress: tuple[int, ...] = ()
    suppress_first: tuple[int, ...] = ()
    forced_end: tuple[int, ...] = ()
    encoder_no_repeat_ngram: int = 0
    defaults: Defaults = Defaults()

    @classmethod
    def of(cls, asset: Mapping[str, Any]) -> GenerationRules:
        """From the asset, which the schema was held against."""
        begin = asset["begin"]
        if begin is not None:
            begin = tuple(map(int, begin)) if isinstance(begin, list) else (int(begin),)
        choices = {
            name: Choice(int(each["place"]), {text: int(token) for text, token in each["tokens"].items()})
            for name, each in asset.get("choices", {}).items()
        }
        suppress, first, forced = (
            tuple(map(int, asset.get(name, ()))) for name in ("suppress", "suppress_first", "forced_end")
        )
        uncounted = asset.get("begin_uncounted")
        uncounted = len(begin or ()) + len(choices) if uncounted is None else int(uncounted)
        copied = int(asset.get("encoder_no_repeat_ngram", 0))
        defaults = Defaults(**asset.get("defaults", {}))
        return cls(begin, uncounted, choices, suppress, first, forced, copied, defaults)

    def tokens(self) -> Iterator[tuple[str, int]]:
        """Every token that the model must have, with the key it stands under."""
        for name in ("begin", "suppress", "suppress_first", "forced_end"):
            yield from ((name, token) for token in getattr(self, name) or ())
        for choice in self.choices.values():
            yield from (("choices", token) for token in choice.tokens.values())

    def begin_lengths(self) -> set[int]:
        """How many tokens an answer may begin with; empty for a decoder-only model."""
        if self.begin is None:
            return set()
        return {len(self.begin)} | {len(self.begin) + 1 for c in self.choices.values() if c.place == len(self.begin)}

    def problem(self) -> str:
        """What does not fit together; empty where all does."""
        if self.choices and self.begin is None:
            return "choices of begin, and begin is null"
        gaps = [name for name, choice in self.choices.items() if choice.place > len(self.begin or ())]
        if gaps:
            place = self.choices[gaps[0]].place
            return f'choice "{printable(gaps[0])}" has place {place}, and begin {len(self.begin or ())} tokens'
        places = [choice.place for choice in self.choices.values()]
        if len(set(places)) < len(places):
            return "two choices have one place"
        if self.defaults.beams > 1 and self.defaults.sample is not None:
            return f"defaults have {self.defaults.beams} beams and sample, and tokens are drawn with one beam alone"
        if set(self.forced_end) & set(self.suppress):
            return f"forced_end and suppress have token {min(set(self.forced_end) & set(self.suppress))} both"
        return ""

    def begin_of(self, chosen: Mapping[str, str], where: str) -> tuple[int, ...] | None:
        """`begin` with what was chosen by name. Raises UsageError for a name that is not there."""
        if not chosen:
            return self.begin
        tokens = list(self.begin or ())
        for name, value in chosen.items():
            if name not in self.choices:
                available = f"it has {', '.join(map(printable, self.choices))}" if self.choices else "it has none"
                raise UsageError(f'begin: got "{printable(name)}", no choice of this model; {available} ({where})')
            choice = self.choices[name]
            if value not in choice.tokens:
                raise UsageError(
                    f'begin: got {printable(name)} "{printable(value)}"; {did_you_mean(value, choice.tokens)}'
                    f"available: {_listed(choice.tokens)} ({where})"
                )
            tokens[choice.place : choice.place + 1] = [choice.tokens[value]]
        return tuple(tokens)


def _listed(names: Mapping[str, int], most: int = 40) -> str:
    told = [printable(name) for name in list(names)[:most]]
    return ", ".join(told) + (f" and {len(names) - most} more" if len(names) > most else "")
