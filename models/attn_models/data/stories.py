"""Small stories made by rule: people, their things, who gives what to whom, and questions at the end.

Every story is drawn from a seed, so nothing is downloaded and nothing is shipped. The English is that of a template:
what a model can learn here is word order, agreement (she and he, is and are) and, above all, to look back: the answers
at the end are words of the story, told once, up to eighty words earlier.

Held out are pairs of a person and a thing (one of eight). A training story never lets that person own that thing, or
be given it; every story of the validation and test splits does. So an answer there can't be known by heart.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch
from torch import Tensor

PAD, END, UNKNOWN = 0, 1, 2
LONGEST = 80  # words of a story


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


WOMEN = _words("Anna Clara Dora Emma Grace Hanna Julia Lena Maria Nora Rosa Sara")
MEN = _words("Adam Ben Carl David Emil Felix Hugo Jonas Leo Max Noah Paul")
PEOPLE = WOMEN + MEN
SINGULAR = _words("lamp boat drum hat bell book ring cup flute kite")
PLURAL = _words("keys shoes gloves boots marbles candles")
THINGS = SINGULAR + PLURAL
COLOURS = _words("red blue green yellow black white grey brown")
PLACES = (
    "in the mill", "in the forest", "in the cellar", "by the river", "by the church",
    "on the hill", "on the island", "at the market", "under the bridge", "under the oak",
)  # fmt: skip
DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MEANWHILE = ("It rains all day .", "The sun shines .", "The wind is cold .", "Birds sing .", "Soon it gets dark .")
_OTHER = "lives has a two finds On She He gives the to hides Who Where What colour does live is are it them ?"


@cache
def lexicon() -> tuple[str, ...]:
    """Every word, by its token. Fixed by the lists above: it does not depend on which stories are drawn."""
    words = [*_OTHER.split(), *PEOPLE, *THINGS, *COLOURS, *DAYS]
    words += [word for text in (*PLACES, *MEANWHILE) for word in text.split()]
    return ("[PAD]", "[END]", "[UNK]", *dict.fromkeys(words))


@cache
def _tokens() -> dict[str, int]:
    return {word: token for token, word in enumerate(lexicon())}


def encode(text: str) -> list[int]:
    """Tokens of words and marks that have spaces between them; KeyError for a word that is in no story."""
    return [_tokens()[word] for word in text.split()]


def tokenizer() -> dict[str, Any]:
    """assets/tokenizer.json, in the format of Hugging Face's tokenizers: words and marks, nothing else."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": token,
                "content": lexicon()[token],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for token in (PAD, END, UNKNOWN)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},  # joins with spaces, but none before a mark
        "model": {"type": "WordLevel", "vocab": dict(_tokens()), "unk_token": "[UNK]"},
    }


@dataclass
class Story:
    """`words` of one story; `answers`: from where to where (exclusive) each answer goes; who had what, ever."""

    words: list[str] = field(default_factory=list)
    answers: list[tuple[int, int]] = field(default_factory=list)
    pairs: set[tuple[str, str]] = field(default_factory=set)

    def say(self, text: str) -> None:
        self.words += text.split()

    def answer(self, text: str) -> None:
        start = len(self.words)
        self.say(text)
        self.answers.append((start, len(self.words)))

    @property
    def held_out(self) -> bool:
        return any(_held_out(person, thing) for person, thing in self.pairs)

    def __str__(self) -> str:
        return " ".join(self.words)


def _held_out(person: str, thing: str) -> bool:
    return (3 * PEOPLE.index(person) + THINGS.index(thing)) % 8 == 0


def draw(choose: random.Random) -> Story:
    """One story of two people and their things. Questions come in between, of what was told just now or long ago."""
    story = Story()
    people = choose.sample(PEOPLE, 2)
    count = choose.choice((1, 2))
    places = choose.sample(PLACES, 2 + count)
    colours = dict(zip(choose.sample(THINGS, count), choose.sample(COLOURS, count), strict=True))
    home = dict(zip(people, places, strict=False))
    owner: dict[str, str] = {}
    hidden: dict[str, str] = {}

    def own(person: str, thing: str) -> None:
        owner[thing] = person
        story.pairs.add((person, thing))

    def ask() -> None:
        about = choose.choice([*people, *owner, *owner])
        is_, it = ("are", "them") if about in PLURAL else ("is", "it")
        if about in people:
            story.say(f"Where does {about} live ?")
            story.answer(f"{about} lives {home[about]} .")
        elif choose.random() < 0.5:
            story.say(f"What colour {is_} the {about} ?")
            story.answer(f"The {about} {is_} {colours[about]} .")
        elif about in hidden:
            story.say(f"Where {is_} the {about} ?")
            story.answer(f"The {about} {is_} {hidden[about]} .")
        else:
            story.say(f"Who has the {about} ?")
            story.answer(f"{owner[about]} has {it} .")

    for person in people:
        story.say(f"{person} lives {home[person]} .")
    for place, (thing, colour) in zip(places[2:], colours.items(), strict=True):
        person, other = choose.sample(people, 2)
        pronoun = "She" if person in WOMEN else "He"
        number = "two" if thing in PLURAL else "a"
        if choose.random() < 0.7:
            story.say(f"{person} has {number} {colour} {thing} .")
        else:
            story.say(f"On {choose.choice(DAYS)} {person} finds {number} {colour} {thing} .")
        own(person, thing)
        then = choose.random()
        if then < 0.3:  # at once, so that the pronoun has somebody to mean
            story.say(f"{pronoun} gives the {thing} to {other} .")
            own(other, thing)
        elif then < 0.6:
            hidden[thing] = place
            story.say(f"{pronoun} hides the {thing} {place} .")
        elif then < 0.7:
            story.say(choose.choice(MEANWHILE))
        ask()
    ask()
    ask()
    return story


def draw_stories(seed: int, count: int, held_out: bool) -> list[Story]:
    """`count` different stories of at most LONGEST words, all held out or none."""
    choose, found = random.Random(seed), dict[str, Story]()
    while len(found) < count:
        story = draw(choose)
        if story.held_out == held_out and len(story.words) <= LONGEST:
            found.setdefault(str(story), story)
    return list(found.values())


def padded(rows: Sequence[Sequence[int]], length: int | None = None) -> tuple[Tensor, Tensor]:
    """(tokens int64 [rows, length], mask bool, true at tokens): rows of different lengths, padded at the end."""
    length = length or max(map(len, rows))
    tokens = torch.full((len(rows), length), PAD)
    for row, values in enumerate(rows):
        tokens[row, : len(values)] = torch.tensor(values)
    lengths = torch.tensor([len(values) for values in rows])
    return tokens, torch.arange(length) < lengths[:, None]
