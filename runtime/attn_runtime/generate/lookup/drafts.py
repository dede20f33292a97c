"""Prompt lookup: where the last tokens of a row came before, it may go on as it did there.

Saxena's prompt lookup decoding (2023, github.com/apoorvumang/prompt-lookup-decoding), which is transformers'
`prompt_lookup_num_tokens`; other than there, the longest and then the latest match counts, a match may run into the guess
itself, so that what repeats is guessed on, and guesses get shorter where they are wrong. The C++ twin is
src/generate/lookup/drafts.cpp: both guess the same.
"""

from __future__ import annotations

from collections.abc import Sequence

#: Most tokens of a match.
LONGEST = 3
#: Tokens of the first guess, and of one that is made again after guesses were wrong: each that is right doubles it.
FIRST = 3
#: So many tokens in a row have to be guessed right, without being fed, before guesses are fed again after none was right.
RIGHT_AGAIN = 2


class Drafts:
    """The guesses of one row.

    source  the tokens that an encoder read, without padding; a match there ends where they do
    begun   what the row begins with
    most    most tokens of a guess
    """

    def __init__(self, source: Sequence[int], begun: Sequence[int], most: int) -> None:
        self._tokens: list[int] = []
        self._most, self._length = most, min(FIRST, most)
        self._right = 0
        self._guess: list[int] = []
        #: A few tokens -> the place behind where they stood last.
        self._behind: dict[tuple[int, ...], int] = {}
        self._begin = 0
        self._add(source)
        self._begin = len(self._tokens)
        self._add(begun)

    def guess(self, most: int) -> list[int]:
        """What the next tokens may be, `most` of them at most; empty where nothing tells, or where it is not worth it."""
        self._guess = self._next(max(1, min(self._length, most)))
        return self._guess[: min(self._length, most)]

    def take(self, chosen: Sequence[int], fed: int) -> None:
        """The row goes on with `chosen`, of which all but the last were guessed; `fed` tokens of the guess had been fed.

        What was right as a whole is followed by a guess twice as long, what was not by one half as long, but longer than what
        was right of it. From nothing on guesses are made without being fed, which costs next to nothing, until RIGHT_AGAIN in a
        row were right.
        """
        right = len(chosen) - 1
        if fed:
            self._right = 0
            if right == fed:
                self._length = min(self._most, 2 * max(fed, self._length))
            else:
                self._length = min(self._most, max(right + 1 if right else 0, self._length // 2))
        elif self._length == 0:
            self._right = self._right + 1 if self._guess[:1] == list(chosen[:1]) else 0
            if self._right >= RIGHT_AGAIN:
                self._right, self._length = 0, min(FIRST, self._most)
        self._add(chosen)

    def _add(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            place = len(self._tokens)
            last = tuple(self._tokens[max(self._begin, place - LONGEST) :])
            for begin in range(len(last)):
                self._behind[last[begin:]] = place
            self._tokens.append(token)

    def _next(self, most: int) -> list[int]:
        end = len(self._tokens)
        last = tuple(self._tokens[max(self._begin, end - LONGEST) :])
        for begin in range(len(last)):
            place = self._behind.get(last[begin:])
            if place is None:
                continue
            if place < self._begin:
                return self._tokens[place : min(place + most, self._begin)]
            found: list[int] = []
            while len(found) < most:
                at = place + len(found)
                found.append(self._tokens[at] if at < end else found[at - end])
            return found
        return []


def drafts_of(prompts: Sequence[Sequence[int]], sources: Sequence[Sequence[int]], most: int) -> list[Drafts]:
    """Those of each row; `sources` may be empty."""
    return [Drafts(sources[row] if sources else (), prompt, most) for row, prompt in enumerate(prompts)]


def together(lengths: Sequence[int]) -> int:
    """How many guessed tokens a call is made for, of rows with so many each: as many as half of the rows have at least. All
    rows are computed for that many, so that what one of them gains all others pay for."""
    ranked = sorted(lengths, reverse=True)
    return ranked[(len(ranked) - 1) // 2] if ranked else 0
