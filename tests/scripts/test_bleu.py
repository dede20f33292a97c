"""bleu.py against numbers that are worked out by hand."""

from __future__ import annotations

import math

import pytest
from bleu import bleu

THE, CAT, IS, ON, MAT, DOG = range(6)


def test_the_same_is_a_hundred() -> None:
    assert bleu([[THE, CAT, IS, ON, MAT], [DOG, IS, ON, THE]], [[THE, CAT, IS, ON, MAT], [DOG, IS, ON, THE]]) == 100


def test_runs_are_counted_no_more_often_than_the_reference_has_them() -> None:
    """Of 7, 6, 5 and 4 runs 5, 4, 3 and 2 are right: the third "the" is none of the reference's."""
    found, wanted = [THE, CAT, IS, ON, THE, THE, THE], [THE, CAT, IS, ON, THE, MAT]
    share = 5 / 7 * 4 / 6 * 3 / 5 * 2 / 4
    assert bleu([found], [wanted]) == pytest.approx(100 * share**0.25)


def test_what_is_shorter_than_the_references_pays() -> None:
    found, wanted = [[THE, CAT, IS, ON]], [[THE, CAT, IS, ON, MAT]]
    assert bleu(found, wanted) == pytest.approx(100 * math.exp(1 - 5 / 4))


def test_sentences_are_summed_up_and_not_averaged() -> None:
    """A sentence of three tokens has no run of four, and counts with those that it has."""
    found = [[THE, CAT, IS], [THE, CAT, IS, ON, MAT]]
    wanted = [[THE, CAT, DOG], [THE, CAT, IS, ON, MAT]]
    share = 7 / 8 * 5 / 6 * 3 / 4 * 2 / 2
    assert bleu(found, wanted) == pytest.approx(100 * share**0.25)


def test_nothing_right_is_nothing() -> None:
    assert bleu([[THE, CAT]], [[IS, ON]]) == 0


def test_a_translation_is_missing() -> None:
    with pytest.raises(ValueError):
        bleu([[THE]], [[THE], [CAT]])
