"""What is asked of a generation. Every value is checked where it is given."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..arguments import expect_call, is_flag, is_number, is_whole, shown
from ..errors import UsageError

_MOST = 2**31 - 1
MOST_BEAMS = 4096  # as in manifest.schema.json


class Event(Protocol):
    """threading.Event, or anything else that says whether it is set."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class Sample:
    """Draw tokens instead of taking the likeliest; the limits apply in the order temperature, top_k, top_p.

    temperature  the logits are divided by it: below 1 the likely become likelier, above 1 the others
    top_k        only the k likeliest tokens (of equally likely ones those with the lowest ids)
    top_p        of those, the fewest likeliest whose probabilities add up to p or more
                 Of the three, None is the bundle's default, and where it has none: 1, all, all
    seed         row i of a batch draws from its own stream, that of seed + i, one number a token: what a row gets does not
                 depend on the rows beside it, and a row alone with seed + i gets the same. Or one seed for each row
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    seed: int | Sequence[int] = 0

    def __post_init__(self) -> None:
        if self.temperature is not None:
            wanted = "a number above 0; leave sampling out for the likeliest token"
            _keep(self, "temperature", _number, lambda n: 0 < n < math.inf, wanted)
        if self.top_k is not None:
            _keep(self, "top_k", _whole, lambda n: n >= 1, "1 or more; leave it out for all tokens")
        if self.top_p is not None:
            _keep(
                self,
                "top_p",
                _number,
                lambda n: 0 < n <= 1,
                "a number above 0 and up to 1; leave it out for all tokens",
            )
        wanted = "a whole number, 0 or more and below 2**63; no value means a new draw each time"
        _keep(self, "seed", _whole, lambda n: 0 <= n < 2**63, wanted)

    def seeds(self, rows: int) -> list[int]:
        """Of each row. Raises UsageError where there is not one for each."""
        if not isinstance(self.seed, tuple):
            return [self.seed + row for row in range(rows)]  # type: ignore[operator]
        _check(
            len(self.seed) == rows, f"seed: got {len(self.seed)} seeds for {rows} rows, expected one or one for each"
        )
        return list(map(int, self.seed))


@dataclass(frozen=True)
class GenerateOptions:
    """How to generate. None is the bundle's default, and where it has none the value in brackets.

    max_length      most tokens of an answer, its stop token included, begin and prompt not; 0 gives empty answers. The
                    model's own limit, `Generator.max_length`, counts them too, and ends a row as well (that one alone)
    beams           how many answers are followed at once for each row; 1 takes the likeliest token each time (1)
    length_penalty  an answer's score is the sum of its log probabilities over its length to this power (1)
    early_stop      with beams: stop a row when it has as many finished answers as beams, instead of when none that is
                    under way can do better by its present length (Hugging Face's early_stopping True and False) (False)
    sample          draw the tokens; with one beam only. False takes the likeliest (False)
    stop            tokens that end an answer; () for none (the model's own)
    scores          compute the scores of answers also where choosing the tokens does not need them
    min_length      an answer has so many tokens before a stop token is chosen (0)
    repetition_penalty  of tokens that are in the row already, prompt or begin included: logits above 0 are divided by it and
                    those below 0 multiplied with it; with beams the same of log probabilities (1)
    no_repeat_ngram no so many tokens in a row come twice in a row, prompt or begin included; 0 for no such rule (0)
    lookup          guess up to so many tokens ahead, as they followed the last ones earlier in the prompt, source or answer, and
                    have the guesses checked in one call: the same tokens, sooner where an answer repeats what is there. Of a
                    bundle with the graph `extend`, without beams and sampling; 0 for no guesses (0)
    begin           what answers begin with, by the names of the model's choices, as in {"language": "de"} (the model's own)
    """

    max_length: int | None = None
    beams: int | None = None
    length_penalty: float | None = None
    early_stop: bool | None = None
    sample: Sample | bool | None = None
    stop: Sequence[int] | None = None
    scores: bool = False
    min_length: int | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram: int | None = None
    lookup: int | None = None
    # A dict has no hash; options are compared by it all the same.
    begin: Mapping[str, str] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        tokens = f"a whole number of tokens, 0..{_MOST}"
        for name, read, good, wanted in (
            ("max_length", _whole, _countable, tokens),
            ("beams", _whole, lambda n: 1 <= n <= MOST_BEAMS, f"1..{MOST_BEAMS}"),
            ("length_penalty", _number, lambda n: 0 <= n <= 100, "a number of 0..100"),
            ("early_stop", _flag, lambda n: True, "True or False"),
            ("min_length", _whole, _countable, tokens),
            (
                "repetition_penalty",
                _number,
                lambda n: 0 < n <= 1000,
                "a number above 0 and up to 1000; 1 for no penalty",
            ),
            ("no_repeat_ngram", _whole, _countable, tokens),
            ("lookup", _whole, _countable, tokens),
        ):
            if getattr(self, name) is not None:
                _keep(self, name, read, good, wanted)
        _keep(self, "scores", _flag, lambda n: True, "True or False")
        if self.sample is not None and not isinstance(self.sample, Sample):
            wanted = "Sample(temperature=..., seed=...), or False for the likeliest tokens"
            _keep(self, "sample", _flag, lambda n: not n, wanted)
        _check(
            not isinstance(self.sample, Sample) or (self.beams or 1) == 1,
            f"got {self.beams} beams and sampling; expected one of the two: draw with one beam, or search with beams",
        )
        if self.begin is not None:
            named = isinstance(self.begin, Mapping) and all(
                isinstance(t, str) for pair in self.begin.items() for t in pair
            )
            _check(named, f'begin: got {shown(self.begin)}, expected names, as in begin={{"language": "de"}}')
            object.__setattr__(self, "begin", dict(self.begin))
        if self.stop is not None:
            _check(_is_several(self.stop), f"stop: got {shown(self.stop)}, expected tokens, as in stop=[3]")
            _keep(self, "stop", _whole, lambda n: n >= 0, "tokens, whole numbers of 0 or more")


def _keep(options: Any, name: str, read: Callable[[Any], Any], good: Callable[[Any], bool], wanted: str) -> None:
    """Keep the field `name` as Python's own number, or as a tuple of them: an iterator can be read but once, and numbers of
    other libraries (a tensor, a Decimal) do not go with NumPy's. UsageError for what is none, or not a good one."""
    given = getattr(options, name)
    several = name in ("seed", "stop") and _is_several(given)
    found = []
    for one in tuple(given) if several else (given,):
        found.append(read(one))
        _check(found[-1] is not None and good(found[-1]), f"{name}: got {shown(one)}, expected {wanted}")
    object.__setattr__(options, name, tuple(found) if several else found[0])


def _countable(value: int) -> bool:
    return 0 <= value <= _MOST


def _is_several(value: Any) -> bool:
    """Numbers in a row, whatever they lie in."""
    return (
        isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping) and getattr(value, "ndim", 1) == 1
    )


def known_options(options: GenerateOptions | None) -> GenerateOptions:
    """The default ones for None; UsageError for options of another kind, such as a dict."""
    if options is not None and not isinstance(options, GenerateOptions):
        raise UsageError(f"options: got {type(options).__name__}, expected GenerateOptions(max_length=..., beams=...)")
    return options or GenerateOptions()


def check_cancel(cancel: Event | Callable[[], object] | None) -> Callable[[], object] | None:
    """What to call to know whether it is time to end. UsageError for what can't be asked."""
    if isinstance(cancel, type) or not (cancel is None or callable(getattr(cancel, "is_set", cancel))):
        raise UsageError(f"cancel: got {shown(cancel)}, expected a threading.Event, or a function without arguments")
    question: Callable[[], object] | None = getattr(cancel, "is_set", cancel)  # type: ignore[arg-type]
    expect_call("cancel", question)
    return question


def _whole(value: Any) -> int | None:
    return operator.index(value) if is_whole(value) and not getattr(value, "ndim", 0) else None


def _number(value: Any) -> float | None:
    return float(value) if is_number(value) and not getattr(value, "ndim", 0) else None


def _flag(value: Any) -> bool | None:
    return bool(value) if is_flag(value) else None


def _check(good: bool, problem: str) -> None:
    if not good:
        raise UsageError(problem)
