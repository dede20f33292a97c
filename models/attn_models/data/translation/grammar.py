"""English sentences with their French translations, written by a grammar: every rule that the translations follow.

What English leaves open is settled once, so that every English sentence has one translation:
    I, you, we, they    are masculine, unless the sentence has a noun for women alone (I am an actress: je suis actrice)
    they, it            are elles and elle where they stand for feminine nouns of the same sentence
    you                 is tu, your is ton; you all is vous, and your is votre in the same sentence
    professions         are masculine behind every subject but she and nouns for women
    his, her            are both son, sa or ses, by the thing that is owned
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

from .forms import (
    AM,
    AVOIR,
    ELIDED,
    ETRE,
    IL,
    ILS,
    JE,
    NOUS,
    OWNERS,
    TU,
    VOUS,
    YOURS,
    Words,
    conjugate,
    contracted,
    determiner,
    inflect,
    job_of,
    join,
    negated,
    plural_of_english,
    plural_of_noun,
    third_person,
    with_article,
)
from .words import (
    ADJECTIVES,
    ADVERBS,
    CONNECTORS,
    JOBS,
    NAMES,
    NOUNS,
    NUMBERS,
    PREPOSITIONS,
    STRANGE,
    SUBSTANCES,
    UNKNOWN,
    VERBS,
    Adjective,
    Noun,
    Verb,
)


class Pair(NamedTuple):
    """A sentence as a person would type it, its translation, and their content.

    content   both without contractions and full stop, and with one mark for all words that the tokenizer does not know
    """

    english: str
    french: str
    content: tuple[str, str]


@dataclass(frozen=True)
class Subject:
    """Who or what a sentence is about: its words, the person of its verb, and the pronoun that takes it up again."""

    english: Words
    french: Words
    person: int
    feminine: bool
    kind: str
    again: str
    bare: bool = False  # a pronoun

    @property
    def plural(self) -> bool:
        return self.person in (NOUS, VOUS, ILS)

    @property
    def third(self) -> bool:
        """The English verb gets an s."""
        return self.person == IL


class Writer:
    """Writes sentences that are drawn from `random` alone."""

    def __init__(self, random: Random) -> None:
        self.random = random

    def pair(self) -> Pair:
        """A sentence of any kind, without words that are too many: see `pairs`."""
        kinds = (
            (self.job, 16),
            (self.quality, 14),
            (self.owning, 16),
            (self.doing, 20),
            (self.acting, 14),
            (self.there_is, 8),
            (self.two_clauses, 12),
            (self.asking, 10),
        )
        (write,) = self.random.choices([k for k, _ in kinds], [w for _, w in kinds])
        english, french = write()
        content = (_known(english), join(_known(french).split()))
        if english[-1] == "?":
            return Pair(f"{' '.join(english[:-1])}?", join(french), content)
        if self.random.random() < 0.3:
            english = contracted(english)
        if self.random.random() < 0.5:
            english, french = [*english[:-1], f"{english[-1]}."], [*french, "."]
        return Pair(" ".join(english), join(french), content)

    def pronoun(self) -> Subject:
        person = self.random.choice((JE, JE, TU, IL, IL, NOUS, VOUS, ILS))
        english = ("i", "you", "he", "we", "you all", "they")[person]
        french = ("je", "tu", "il", "nous", "vous", "ils")[person]
        feminine = person == IL and self.random.random() < 0.5
        if feminine:
            english, french = "she", "elle"
        return Subject(english.split(), [french], person, feminine, "person", english, bare=True)

    def name(self) -> Subject:
        name = self.random.choice(NAMES)
        return Subject([name], [name], IL, False, "person", "he")

    def noun_subject(self, kinds: str) -> Subject:
        """The dog, my sister, these red cars ... of the kinds given by their first letters."""
        noun = self.noun(kinds)
        plural = self.random.random() < 0.4 and noun not in STRANGE
        words = (
            ("the", "the", "the", "these", *OWNERS, "two", "three")
            if plural
            else ("the", "the", "the", "this", *OWNERS)
        )
        word = self.random.choice(words)
        if word == "your":
            word = "my"  # whose, would depend on who is spoken to
        adjective = self.adjective(noun.kind) if self.random.random() < 0.2 else None
        english, french = self.noun_phrase(word, noun, plural, adjective)
        one = "she" if noun.feminine else "he"
        again = "they" if plural else one if noun.kind == "person" else "it"
        return Subject(english, french, ILS if plural else IL, noun.feminine, noun.kind, again)

    def someone(self) -> Subject:
        draw = self.random.random()
        return self.pronoun() if draw < 0.62 else self.name() if draw < 0.66 else self.noun_subject("p")

    def noun(self, kinds: str) -> Noun:
        """One of STRANGE stands in the singular alone: its plural can not be told from its token."""
        strange = [n for n in STRANGE if n.kind[0] in kinds]
        if strange and self.random.random() < 0.03:
            return self.random.choice(strange)
        return self.random.choice([n for n in NOUNS if n.kind[0] in kinds])

    def adjective(self, kind: str, before: bool | None = None) -> Adjective:
        fit = [a for a in ADJECTIVES if kind[0] in a.kinds and before in (None, a.before)]
        return self.random.choice(fit)

    def noun_phrase(
        self,
        word: str,
        noun: Noun,
        plural: bool,
        adjective: Adjective | None = None,
        second: Adjective | None = None,
        yours: bool = False,
    ) -> tuple[Words, Words]:
        """Article (or what stands for it), adjectives and noun; of two adjectives the first stands before the noun."""
        english_noun = (noun.english_plural or plural_of_english(noun.english)) if plural else noun.english
        french_noun = plural_of_noun(noun) if plural else noun.french
        both = [a for a in (adjective, second) if a is not None]
        front = [inflect(a, noun.feminine, plural, french_noun) for a in both if a.before]
        back = [inflect(a, noun.feminine, plural) for a in both if not a.before]
        french = [*front, french_noun, *back]
        article = determiner(word, noun.feminine, plural, french[0], yours)
        if word == "" and front:
            article = ["de"]  # de petits chiens
        english = [*([word] if word else []), *(a.english for a in both), english_noun]
        return with_article(english), [*article, *french]

    def object(self, kinds: str, negative: bool, subject: Subject, general: bool) -> tuple[Words, Words]:
        """What somebody has, sees or likes. Behind a negation, 'un', 'des' and 'du' become 'de'."""
        yours = subject.english == ["you", "all"]
        if self.random.random() < 0.15:
            fit = [s for s in SUBSTANCES if s.kind[0] in kinds]
            if fit:
                noun = self.random.choice(fit)
                article = ["la" if noun.feminine else "le"]
                if not general:
                    article = ["de"] if negative else ["de", *article]
                return [noun.english], [*article, noun.french]
        noun = self.noun(kinds)
        plural = self.random.random() < 0.35 and noun not in STRANGE
        if plural:
            words = ("the", "the", "", "", "these", *OWNERS, *NUMBERS)
        else:
            words = ("the", "the", "this", *OWNERS, *(() if general else ("a",) * 6))
        word = self.random.choice(words)
        draw = self.random.random()
        adjective = second = None
        if draw < 0.3:
            adjective = self.adjective(noun.kind)
        elif draw < 0.4:
            adjective, second = self.adjective(noun.kind, before=True), self.adjective(noun.kind, before=False)
        english, french = self.noun_phrase(word, noun, plural, adjective, second, yours)
        if word == "" and general:
            french = ["les", *french[1:]]
        elif word in ("", "a") and negative:
            french = ["de", *french[1:]]
        return english, french

    def place(self) -> tuple[Words, Words]:
        noun = self.random.choice([n for n in NOUNS if n.kind == "location"])
        preposition = self.random.choice(list(PREPOSITIONS))
        plural = self.random.random() < 0.1
        english, french = self.noun_phrase(self.random.choice(("the", "the", "the", "my")), noun, plural)
        return [*preposition.split(), *english], [PREPOSITIONS[preposition], *french]

    # sentences: English and French words

    def job(self) -> tuple[Words, Words]:
        """I am a student: je suis étudiant."""
        subject = self.noun_subject("p") if self.random.random() < 0.35 else self.someone()
        anybody = subject.bare and subject.english != ["he"]
        jobs = [j for j in JOBS if not j.feminine or subject.feminine or anybody]
        job = self.random.choice(jobs)
        feminine = subject.feminine or job.feminine
        if job.feminine and subject.person == ILS and subject.bare:
            subject = replace(subject, french=["elles"])
        negative = self.random.random() < 0.25
        english = plural_of_english(job.english) if subject.plural else job.english
        said = with_article(["a", english]) if not subject.plural else [english]
        english_words = [*subject.english, AM[subject.person], *(["not"] if negative else []), *said]
        french = job_of(job, feminine, subject.plural)
        return english_words, [*subject.french, *negated(ETRE[subject.person], negative), french]

    def being(self, subject: Subject, negative: bool) -> tuple[Words, Words]:
        """... is often very tired: ... est souvent très fatigué."""
        adjective = self.adjective(subject.kind)
        extra_english, extra_french = Words(), Words()
        draw = self.random.random()
        if draw < 0.2:
            extra_english, extra_french = ["very"], ["très"]
        elif draw < 0.35 and subject.kind == "person":
            adverb = "always" if negative else self.random.choice(list(ADVERBS))
            extra_english, extra_french = [adverb], [ADVERBS[adverb]]
        english = [AM[subject.person], *(["not"] if negative else []), *extra_english, adjective.english]
        form = inflect(adjective, subject.feminine, subject.plural)
        return english, [*negated(ETRE[subject.person], negative), *extra_french, form]

    def quality(self) -> tuple[Words, Words]:
        subject = self.someone() if self.random.random() < 0.5 else self.noun_subject("atfl")
        english, french = self.being(subject, self.random.random() < 0.25)
        return subject.english + english, subject.french + french

    def having(self, subject: Subject, negative: bool) -> tuple[Words, Words]:
        english, french = self.object("patf", negative, subject, general=False)
        verb = (
            ["do" if not subject.third else "does", "not", "have"] if negative else ["has" if subject.third else "have"]
        )
        return verb + english, negated(AVOIR[subject.person], negative) + french

    def owning(self) -> tuple[Words, Words]:
        subject = self.someone()
        english, french = self.having(subject, self.random.random() < 0.3)
        return subject.english + english, subject.french + french

    def verb_phrase(self, subject: Subject, verb: Verb, negative: bool) -> tuple[Words, Words]:
        """The verb, with an adverb at times: often eats, mange souvent."""
        adverb = ""
        if self.random.random() < 0.12:
            adverb = self.random.choice(("often", "always")) if negative else self.random.choice(list(ADVERBS))
        behind = [ADVERBS[adverb]] if adverb else []
        french = negated(conjugate(verb, subject.person), negative) + behind
        front = [adverb] if adverb else []
        if negative:
            return ["does" if subject.third else "do", "not", *front, *verb.english.split()], french
        return [*front, *(third_person(verb.english) if subject.third else verb.english).split()], french

    def doing(self) -> tuple[Words, Words]:
        """I do not eat the red apple: je ne mange pas la pomme rouge."""
        subject = self.someone()
        negative = self.random.random() < 0.25
        verb = self.random.choice([v for v in VERBS if v.kinds])
        verb_english, verb_french = self.verb_phrase(subject, verb, negative)
        english, french = self.object(verb.kinds, negative, subject, verb.general)
        return subject.english + verb_english + english, subject.french + verb_french + french

    def act(self, subject: Subject, negative: bool, where: bool) -> tuple[Words, Words]:
        verb = self.random.choice([v for v in VERBS if not v.kinds])
        english, french = self.verb_phrase(subject, verb, negative)
        if where:
            place_english, place_french = self.place()
            return english + place_english, french + place_french
        return english, french

    def acting(self) -> tuple[Words, Words]:
        subject = self.someone()
        english, french = self.act(subject, self.random.random() < 0.25, where=self.random.random() < 0.6)
        return subject.english + english, subject.french + french

    def there_is(self) -> tuple[Words, Words]:
        """There are no cats in the garden: il n'y a pas de chats dans le jardin."""
        noun = self.random.choice([n for n in NOUNS if n.kind != "location"])
        plural = self.random.random() < 0.5
        negative = self.random.random() < 0.3
        adjective = self.adjective(noun.kind) if self.random.random() < 0.3 else None
        word = (
            ""
            if plural and (negative or self.random.random() < 0.5)
            else self.random.choice(list(NUMBERS))
            if plural
            else "a"
        )
        english, french = self.noun_phrase(word, noun, plural, adjective)
        if negative:
            english = ["no", *(english if plural else english[1:])]
            french = ["de", *french[1:]]
        place_english, place_french = self.place() if self.random.random() < 0.7 else ([], [])
        verb = ["ne", "y", "a", "pas"] if negative else ["y", "a"]
        return ["there", "are" if plural else "is", *english, *place_english], ["il", *verb, *french, *place_french]

    def clause(self, subject: Subject) -> tuple[Words, Words]:
        """What a subject is, has or does, in few words."""
        negative = self.random.random() < 0.2
        draw = self.random.random()
        if draw < 0.55 or subject.kind not in ("person", "animal"):
            return self.being(subject, negative)
        if draw < 0.75 and subject.kind == "person":
            return self.having(subject, negative)
        return self.act(subject, negative, where=False)

    def two_clauses(self) -> tuple[Words, Words]:
        """The car is old but it is quick: la voiture est vieille mais elle est rapide."""
        subject = self.someone() if self.random.random() < 0.3 else self.noun_subject("patfl")
        one = "elle" if subject.feminine else "il"
        word = subject.french[0] if subject.bare else f"{one}s" if subject.plural else one
        again = replace(subject, english=subject.again.split(), french=[word], bare=True)
        connector = self.random.choice(list(CONNECTORS))
        first_english, first_french = self.clause(subject)
        then_english, then_french = self.clause(again)
        return (
            [*subject.english, *first_english, connector, *again.english, *then_english],
            [*subject.french, *first_french, CONNECTORS[connector], *again.french, *then_french],
        )

    def asking(self) -> tuple[Words, Words]:
        """Does she have a dog? Est-ce qu'elle a un chien ?"""
        subject = self.someone()
        asked = ["est-ce", "que", *subject.french]
        draw = self.random.random()
        if draw < 0.4:
            (helper, *english), french = self.being(subject, negative=False)
        else:
            helper = "does" if subject.third else "do"
            verb = self.random.choice([v for v in VERBS if v.kinds]) if draw < 0.7 else None
            kinds, general = (verb.kinds, verb.general) if verb else ("patf", False)
            object_english, object_french = self.object(kinds, False, subject, general)
            english = [*(verb.english if verb else "have").split(), *object_english]
            french = [conjugate(verb, subject.person) if verb else AVOIR[subject.person], *object_french]
        return [helper, *subject.english, *english, "?"], [*asked, *french, "?"]


def _known(words: Words) -> str:
    return " ".join("<unk>" if word in UNKNOWN else word for word in words)


def pairs(seed: int, longest: int) -> Iterator[Pair]:
    """Pairs without end, no two of the same English content, at most `longest` tokens on either side."""
    writer = Writer(Random(seed))
    seen: set[str] = set()
    while True:
        pair = writer.pair()
        if pair.content[0] not in seen and max(len(split(pair.english)), len(split(pair.french))) <= longest:
            seen.add(pair.content[0])
            yield pair


def split(text: str) -> Words:
    """A text into tokens: at spaces, behind apostrophes, and around full stop and question mark."""
    for mark, parted in (("'", "' "), ("?", " ?"), (".", " .")):
        text = text.replace(mark, parted)
    return text.split()


_SMALL_WORDS = """
    i you he she it we they all the a an this these has have do does not no there very . ?
    i' you' he' she' we' they' there' m re s don' doesn' isn' aren' t
    je tu il elle nous vous ils elles y ne pas que est-ce le la les un une de du des ce cet cette ces très
"""


def vocabulary() -> list[str]:
    """Every token that the grammar can write, of both languages together, sorted. UNKNOWN are left out on purpose."""
    people = (JE, TU, IL, NOUS, VOUS, ILS)
    both = (False, True)
    words = set(_SMALL_WORDS.split())
    words |= {f"{word[:-1]}'" for word in ELIDED}
    words |= {*AM, *ETRE, *AVOIR, *OWNERS, *YOURS, *(word for owner in OWNERS.values() for word in owner)}
    for table in (ADVERBS, PREPOSITIONS, NUMBERS, CONNECTORS):
        for item in table.items():
            words |= {word for text in item for word in text.split()}
    for noun in NOUNS:
        words |= {
            noun.english,
            noun.english_plural or plural_of_english(noun.english),
            noun.french,
            plural_of_noun(noun),
        }
    words |= {word for noun in SUBSTANCES for word in (noun.english, noun.french)}
    for job in JOBS:
        words |= {job.english, plural_of_english(job.english)}
        words |= {job_of(job, feminine, plural) for feminine in both for plural in both}
    for adjective in ADJECTIVES:
        forms = {inflect(adjective, feminine, plural) for feminine in both for plural in both}
        words |= {adjective.english, *forms, *adjective.before_vowel.split()}
    for verb in VERBS:
        words |= {*verb.english.split(), *third_person(verb.english).split()}
        words |= {conjugate(verb, person) for person in people}
    return sorted(words)
