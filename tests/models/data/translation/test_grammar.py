"""The sentences that the translator learns from: right French, one translation each, the same in every run."""

import itertools
from random import Random

import pytest
from attn_models.data.translation import text
from attn_models.data.translation.forms import plural_of_noun
from attn_models.data.translation.grammar import Writer, pairs, split
from attn_models.data.translation.words import ASPIRATED, NOUNS


@pytest.fixture(scope="module")
def sentences():
    return [pair for part in text.parts() for pair in part]


#: Translated by hand; the grammar must say the same.
BY_HAND = {
    "she is an actress": "elle est actrice",
    "i am a student": "je suis étudiant",
    "they are not actresses": "elles ne sont pas actrices",
    "do three girls listen to a beautiful jealous uncle ?": "est-ce que trois filles écoutent un bel oncle jaloux ?",
    "<unk> has her old computer": "<unk> a son vieil ordinateur",
    "she sometimes leaves a new white hotel": "elle quitte parfois un nouvel hôtel blanc",
    "you all like your keys": "vous aimez vos clés",
    "these heavy lamps are brown and they are not black": "ces lampes lourdes sont marron et elles ne sont pas noires",
    "there is no clock in front of my city": "il n'y a pas d'horloge devant ma ville",
    "<unk> does not borrow a blue plane": "<unk> n'emprunte pas d'avion bleu",
    "we do not buy knives": "nous n'achetons pas de couteaux",
    "her quick woman does not have garlic": "sa femme rapide n'a pas d'ail",
    "this hero has beautiful tired queens": "ce héros a de belles reines fatiguées",
    "this car is very quick because it is useful": "cette voiture est très rapide parce qu'elle est utile",
}


def test_sentences_translated_by_hand(sentences):
    written = {pair.content[0]: pair.content[1] for pair in sentences}
    assert {english: written.get(english) for english in BY_HAND} == BY_HAND


def test_rules_that_hold_for_every_sentence(sentences):
    names = {form for noun in NOUNS for form in (noun.french, plural_of_noun(noun))}
    for pair in sentences:
        words = split(pair.french)
        for word, following in itertools.pairwise(words):
            vowel = following == "y" or (following[0] in "aeiouhâàéèêîôœ" and following not in ASPIRATED)
            if word in ("je", "ne", "de", "le", "la", "que", "ce", "ma", "ta", "sa"):
                assert not vowel, pair
            if word.endswith("'") or word in ("cet", "bel", "nouvel", "vieil"):
                assert vowel, pair
            if word in ("beau", "nouveau") and following in names:
                assert not vowel, pair
            assert (word, following) not in {("de", "le"), ("de", "les"), ("de", "du"), ("de", "des")}, pair
        assert ("pas" in words) == ("ne" in words or "n'" in words), pair
        assert (" no " in f" {pair.english} " or "n't" in pair.english or " not " in pair.english) == (
            "pas" in words
        ), pair
        assert pair.english.endswith("?") == pair.french.endswith(" ?"), pair
        assert pair.english.endswith(".") == pair.french.endswith("."), pair


def test_english_never_leaves_the_translation_open():
    writer, translations = Writer(Random(11)), {}
    for _ in range(10_000):
        english, french = writer.pair().content
        assert translations.setdefault(english, french) == french, english


def test_a_seed_decides_the_sentences():
    one, again, other = (list(itertools.islice(pairs(seed, 12), 40)) for seed in (5, 5, 6))
    assert one == again != other
