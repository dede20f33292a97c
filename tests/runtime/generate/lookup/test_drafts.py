"""What is guessed of a row, and when guesses are worth their price."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from attn_runtime.generate.lookup import Drafts, together


def naive(source: Sequence[int], row: Sequence[int], most: int) -> list[int]:
    """The rule, told once more: the longest match of up to three tokens, of equal ones the last, goes on."""
    for size in range(min(3, len(row)), 0, -1):
        places = [p for p in range(size, len(row)) if list(row[p - size : p]) == list(row[-size:])]
        if places:
            found = list(row)
            for number in range(most):
                found.append(found[places[-1] + number])
            return found[len(row) :]
        places = [p for p in range(size, len(source)) if list(source[p - size : p]) == list(row[-size:])]
        if places:
            return list(source[places[-1] : places[-1] + most])
    return []


@pytest.mark.parametrize("seed", range(20))
def test_the_longest_and_latest_match_goes_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    source = rng.integers(0, 4, rng.integers(0, 12)).tolist()
    row = rng.integers(0, 4, rng.integers(1, 12)).tolist()
    drafts = Drafts(source, row, 6)
    for number in range(8):
        guess = drafts.guess(6)
        assert guess == naive(source, row, 6)[: len(guess)] and bool(guess) == bool(naive(source, row, 1)), number
        more = [*guess, int(rng.integers(0, 4))] if guess else rng.integers(0, 4, 1).tolist()
        drafts.take(more, len(guess))  # as if all of it was right
        row += more


def test_a_match_in_the_source_ends_where_the_source_does() -> None:
    assert Drafts([5, 6, 7], [1, 6], 6).guess(6) == [7]
    assert Drafts([5, 6, 7], [7], 6).guess(6) == []
    assert Drafts([5, 1], [6, 7, 1], 6).guess(6) == [], "no match reaches from the source into the row"


def test_what_repeats_is_guessed_on() -> None:
    drafts = Drafts([], [8, 9, 8, 9], 5)
    assert drafts.guess(5) == [8, 9, 8]
    drafts.take([8, 9, 8, 9], 3)
    assert drafts.guess(5) == [8, 9, 8, 9, 8]


def test_no_more_is_guessed_than_there_is_room_for() -> None:
    assert Drafts([], [8, 9, 8, 9], 5).guess(2) == [8, 9]
    assert Drafts([], [8, 9, 8, 9], 5).guess(0) == []


def test_wrong_guesses_get_shorter_and_end() -> None:
    drafts = Drafts([], [3] * 4, 8)
    lengths = []
    for wrong in range(10, 14):
        lengths.append(len(drafts.guess(8)))
        drafts.take([wrong], lengths[-1])
        drafts.take([3, 3, 3], 0)  # nothing was fed: a match again
    assert lengths == [3, 1, 0, 0]


def test_guesses_come_back_when_two_in_a_row_would_have_been_right() -> None:
    drafts = Drafts([], [3, 3, 3, 3], 1)
    drafts.take([4], len(drafts.guess(1)))  # wrong, and there is nothing shorter than one
    fed = []
    for _ in range(6):  # behind 4 no guess, then thrice 4, as it was, then twice 3
        fed.append(drafts.guess(1))
        drafts.take([3], 0)
    assert fed == [[]] * 6
    assert drafts.guess(1) == [3]


def test_right_guesses_get_longer_and_those_that_are_right_in_part_follow() -> None:
    drafts = Drafts([], [3] * 4, 8)
    for length in (3, 6, 8, 8):
        assert len(drafts.guess(8)) == length
        drafts.take([3] * (length + 1), length)
    drafts.guess(8)
    drafts.take([3, 3, 9], 8)  # two were right
    drafts.take([3, 3, 3], 0)
    assert len(drafts.guess(8)) == 4


@pytest.mark.parametrize(
    ("lengths", "count"), [([], 0), ([4], 4), ([4, 0], 4), ([9, 4, 0], 4), ([9, 0, 0], 0), ([9, 5, 3, 3], 5)]
)
def test_a_batch_is_fed_what_half_of_its_rows_have(lengths: list[int], count: int) -> None:
    assert together(lengths) == count
