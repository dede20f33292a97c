"""How English and French words change: number, gender, person, elision. The rules of `grammar`."""

from __future__ import annotations

from collections.abc import Sequence

from .words import ASPIRATED, NUMBERS, Adjective, Job, Noun, Verb

Words = list[str]

JE, TU, IL, NOUS, VOUS, ILS = range(6)  # the person of a verb
AM = ("am", "are", "is", "are", "are", "are")
ETRE = ("suis", "es", "est", "sommes", "êtes", "sont")
AVOIR = ("ai", "as", "a", "avons", "avez", "ont")
ENDINGS = ("e", "es", "e", "ons", "ez", "ent")
VOWELS = "aeiouàâäéèêëîïôöùûüœæh"
ELIDED = ("je", "ne", "de", "le", "la", "que")

#: Owner's words: English, then French for one masculine, one feminine, several.
OWNERS = {
    "my": ("mon", "ma", "mes"),
    "your": ("ton", "ta", "tes"),
    "his": ("son", "sa", "ses"),
    "her": ("son", "sa", "ses"),
    "our": ("notre", "notre", "nos"),
    "their": ("leur", "leur", "leurs"),
}
YOURS = ("votre", "votre", "vos")  # of you all


def starts_with_vowel(word: str) -> bool:
    """By sound: a mute h counts as a vowel, an aspirated one does not."""
    return word == "y" or (word[0] in VOWELS and word not in ASPIRATED)


def join(words: Sequence[str]) -> str:
    """French words as a text: elided before vowels (j'ai), contracted (du, des), a space before '?' but not before '.'."""
    done: Words = []
    for word in words:
        for part in word.split(" "):
            before = done[-1] if done else ""
            if before in ELIDED and starts_with_vowel(part):
                done[-1] = f"{before[:-1]}'"
            done.append(part)
    # Behind elision: 'de la eau' is 'de l'eau' and never 'du eau'.
    text = " ".join(done).replace("' ", "'").replace(" .", ".")
    return f" {text} ".replace(" de le ", " du ").replace(" de les ", " des ").strip()


def plural_of_noun(noun: Noun) -> str:
    word = noun.french
    if noun.french_plural:
        return noun.french_plural
    if word.endswith(("s", "x", "z")):
        return word
    if word.endswith("al"):
        return f"{word[:-2]}aux"
    return f"{word}x" if word.endswith(("au", "eu")) else f"{word}s"


def inflect(adjective: Adjective, feminine: bool, plural: bool, before: str = "") -> str:
    """The form for a noun. `before` is the noun that follows, where the adjective stands in front of it."""
    word = adjective.french
    if feminine:
        word = adjective.french_feminine or (word if word.endswith("e") else f"{word}e")
    elif not plural and before and adjective.before_vowel and starts_with_vowel(before):
        return adjective.before_vowel
    if not plural:
        return word
    if adjective.french_plural:
        return adjective.french_plural
    if word.endswith(("s", "x")):
        return word
    if word.endswith("al"):
        return f"{word[:-2]}aux"
    return f"{word}x" if word.endswith("eau") else f"{word}s"


def job_of(job: Job, feminine: bool, plural: bool) -> str:
    word = job.french_feminine if feminine or job.feminine else job.french
    return f"{word}s" if plural else word


def conjugate(verb: Verb, person: int) -> str:
    """A regular verb in -er in the present: mangeons, lançons and achète keep their sound."""
    stem, ending = verb.french[:-2], ENDINGS[person]
    if person not in (NOUS, VOUS):
        return (verb.strong or stem) + ending
    if person == NOUS:
        if stem.endswith("g"):
            stem += "e"
        elif stem.endswith("c"):
            stem = f"{stem[:-1]}ç"
    return stem + ending


def negated(verb: str, negative: bool) -> Words:
    return ["ne", verb, "pas"] if negative else [verb]


def determiner(english: str, feminine: bool, plural: bool, following: str, yours: bool = False) -> Words:
    """The French article, or what stands in its place, for an English one. `yours`: 'your' is of several.

    The English are: the, a, "" (no article, before a plural), this, these, owner's words and numbers.
    """
    vowel = starts_with_vowel(following)
    if english == "the":
        return ["les"] if plural else ["la" if feminine else "le"]
    if english == "a":
        return ["une" if feminine else "un"]
    if english == "":
        return ["des"]
    if english in ("this", "these"):
        return ["ces"] if plural else ["cette" if feminine else "cet" if vowel else "ce"]
    if english in NUMBERS:
        return [NUMBERS[english]]
    one_masculine, one_feminine, several = YOURS if yours and english == "your" else OWNERS[english]
    if plural:
        return [several]
    return [one_feminine if feminine and not vowel else one_masculine]


def third_person(verb: str) -> str:
    first, *rest = verb.split(" ")
    if first.endswith(("s", "x", "z", "ch", "sh")):
        first += "es"
    elif first.endswith("y") and first[-2] not in "aeiou":
        first = f"{first[:-1]}ies"
    else:
        first += "s"
    return " ".join([first, *rest])


def plural_of_english(word: str) -> str:
    if word.endswith(("s", "x", "ch", "sh")):
        return f"{word}es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


def with_article(words: Words) -> Words:
    """'a' before words that start with a vowel, by sound, becomes 'an'."""
    if words[0] == "a" and words[1][0] in "aeiou" and words[1] != "useful":
        return ["an", *words[1:]]
    return words


def contracted(words: Words) -> Words:
    """i am -> i'm, do not -> don't, is not -> isn't; at the beginning of a sentence the pronoun takes the verb."""
    text = f" {' '.join(words)}"
    for pronoun in ("i am", "you are", "he is", "she is", "we are", "they are", "there is"):
        if text.startswith(f" {pronoun} "):
            return text.replace(f" {pronoun} ", f" {pronoun[: pronoun.index(' ')]}'{_short(pronoun)} ", 1).split()
    for verb in ("do", "does", "is", "are"):
        text = text.replace(f" {verb} not ", f" {verb}n't ")
    return text.split()


def _short(pronoun: str) -> str:
    return {"am": "m", "is": "s", "are": "re"}[pronoun.split(" ")[1]]
