"""What one generation does: its options, and the bundle's defaults where they say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from ..errors import InputError, UsageError
from .graphs import GenerationRules
from .options import GenerateOptions, Sample

_T = TypeVar("_T")


@dataclass(frozen=True)
class Settings:
    """`GenerateOptions` without a None that stands for the bundle's.

    most        most tokens of an answer, and of a row with its prompt or begin; None for no limit but the model's
    least       how many tokens an answer has, and a row, before a stop token is chosen
    begin       the tokens that answers begin with; None for a decoder-only model
    counted     how many of them count into the length that a score is divided by
    stop        tokens that end an answer
    """

    most: tuple[int | None, int | None]
    least: tuple[int, int]
    beams: int
    length_penalty: float
    early_stop: bool
    sample: Sample | None
    scores: bool
    stop: tuple[int, ...]
    begin: tuple[int, ...] | None
    counted: int
    repetition_penalty: float
    no_repeat_ngram: int
    suppress: tuple[int, ...]
    suppress_first: tuple[int, ...]
    forced_end: tuple[int, ...]
    encoder_no_repeat_ngram: int
    lookup: int = 0

    @classmethod
    def of(cls, options: GenerateOptions, rules: GenerationRules, stop: Sequence[int], where: str) -> Settings:
        """Raises UsageError for a choice that the model does not have."""
        default = rules.defaults
        begin = rules.begin_of(options.begin or {}, where)
        return cls(
            most=(default.max_new, default.max_length) if options.max_length is None else (options.max_length, None),
            least=(default.min_new, default.min_length) if options.min_length is None else (options.min_length, 0),
            beams=_beams(options, default.beams),
            length_penalty=_given(options.length_penalty, default.length_penalty),
            early_stop=_given(options.early_stop, default.early_stop),
            sample=_sample(options, rules),
            scores=options.scores,
            stop=tuple(stop if options.stop is None else options.stop),
            begin=begin,
            counted=max(0, len(begin or ()) - rules.uncounted),
            repetition_penalty=_given(options.repetition_penalty, default.repetition_penalty),
            no_repeat_ngram=_given(options.no_repeat_ngram, default.no_repeat_ngram),
            suppress=rules.suppress,
            suppress_first=rules.suppress_first,
            forced_end=rules.forced_end,
            encoder_no_repeat_ngram=rules.encoder_no_repeat_ngram,
            lookup=_given(options.lookup, 0),
        )

    @property
    def has_rules(self) -> bool:
        """Whether any token is ruled out or made less likely, but for what the encoder read."""
        changed = self.repetition_penalty != 1 or self.no_repeat_ngram or any(self.least)
        return bool(changed or self.suppress or self.suppress_first or self.forced_end)

    def check(self, vocabulary: int, where: str) -> None:
        """UsageError for what a model of that many tokens can't do."""
        if self.beams > vocabulary:
            raise UsageError(
                f"beams: got {self.beams}, but the model has {vocabulary} tokens to choose from; take {vocabulary} or fewer "
                f"({where})"
            )
        for token in self.stop:
            if token >= vocabulary:
                raise UsageError(f"stop: got token {token}, the model has 0..{vocabulary - 1} ({where})")

    def check_submitted(self, where: str) -> None:
        """UsageError for what requests that are written together can't have."""
        if self.beams > 1:
            raise UsageError(
                f"submit: got {self.beams} beams, expected one; take GenerateOptions(beams=1), or call generate for a "
                f"beam search ({where})"
            )
        if self.lookup:
            raise UsageError(
                f"submit: got lookup {self.lookup}; requests are written together, a token a step: leave it out, or call "
                f"generate ({where})"
            )

    def check_lookup(self, most: int, where: str) -> None:
        """UsageError for guesses that this generation, or a bundle whose `extend` takes up to `most` of them, can't have."""
        if not self.lookup:
            return
        if self.beams > 1 or self.sample is not None:
            does = f"{self.beams} beams are followed" if self.beams > 1 else "tokens are drawn"
            raise UsageError(
                f"lookup: {does}, and guesses are checked against the likeliest token; take beams=1 and sample=False, or "
                f"leave lookup out ({where})"
            )
        if not most:
            raise UsageError(
                f"lookup: the bundle has no graph that reads several tokens; export it with --with-extend, or leave lookup "
                f"out ({where})"
            )
        if self.lookup > most:
            raise UsageError(f"lookup: got {self.lookup}; the graph takes up to {most} guesses at once ({where})")

    def limit(self, length: int, room: int, where: str) -> int:
        """Most tokens of an answer behind a prompt (or begin) of `length` tokens, where the model has room for `room`. Raises
        InputError for a prompt that the bundle's default length of a row leaves no room for: nobody asked for an empty answer."""
        of_answer, of_row = self.most
        if of_row is not None and of_row <= length and room > 0:
            raise InputError(
                f"got a prompt of {length} tokens; rows of this model have up to {of_row} by default, answer included: give "
                f"max_length, which counts the answer alone ({where})"
            )
        limits = [
            room,
            *([of_answer] if of_answer is not None else []),
            *([of_row - length] if of_row is not None else []),
        ]
        return max(0, min(limits))

    def fewest(self, length: int) -> int:
        """How many tokens an answer behind a prompt of `length` tokens has before a stop token is chosen."""
        return max(self.least[0], self.least[1] - length)

    def score(self, total: float, length: int) -> float:
        """Of an answer of `length` tokens whose log probabilities add up to `total`."""
        counted: float = float(max(1, length + self.counted)) ** self.length_penalty
        return total / counted


def _given(value: _T | None, default: _T) -> _T:
    return default if value is None else value


def _beams(options: GenerateOptions, default: int) -> int:
    if options.beams is not None:
        return options.beams
    return 1 if isinstance(options.sample, Sample) else default


def _sample(options: GenerateOptions, rules: GenerationRules) -> Sample | None:
    """What is asked for, with the bundle's numbers where it has none; the bundle's own where nothing is asked for."""
    given, default = options.sample, rules.defaults.sample
    if given is False or (options.beams or 1) > 1:
        return None
    if not isinstance(given, Sample):
        return None if default is None else Sample(**{"temperature": 1.0, **default})
    numbers = {"temperature": 1.0, **(default or {})}
    return replace(given, **{name: value for name, value in numbers.items() if getattr(given, name) is None})
