"""The C++ regular expressions match what Oniguruma matches for the `tokenizers` library."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.texts.multilingual_texts import multilingual_texts
from support.texts.tokenizer_parts import PATTERNS, answer, ask, compare

tokenizers = pytest.importorskip("tokenizers")

from tokenizers import Regex, normalizers, pre_tokenizers  # noqa: E402

CATEGORIES = "Cc Cf Cn Co Ll Lm Lo Lt Lu Mc Me Mn Nd Nl No Pc Pd Pe Pf Pi Po Ps Sc Sk Sm So Zl Zp Zs"
EVERY = {
    "categories": "|".join(rf"\p{{{name}}}+" for name in CATEGORIES.split()),
    "scripts": PATTERNS["scripts"],
    "words": r"\w+",
    "words in a class": r"[\w]+",
    "spaces": r"\s+",
}

#: What patterns are drawn of.
CHARACTERS = "aabbcsk x\u00e91'"
SETS = [
    *(r"\s", r"\S", r"\d", r"\w", r"\W", r"\p{L}", r"\p{N}", r"\P{L}", ".", "[ab]", "[^a]", r"[^\s\p{L}]", "[a-c1]"),
    *(r"[\w'&&[^b]]", r"[\p{Lu}\u00e9]", "[[ab]x]", r"\n", r"\."),
]
PLACES = [
    *("^", "$", r"\b", r"\B", r"\A", r"\z", r"\Z", "(?=a)", "(?!a)", r"(?!\S)", r"(?=\s|b)", "(?<=a)", r"(?<!\s)"),
    *("(?!ab|c)", "(?=a{1,2}b)"),
]
REPEATS = ["?", "*", "+", "{2}", "{1,2}", "{,2}", "{1,}", "??", "*?", "+?", "{1,2}?", "{1,2}+"]


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return multilingual_texts()


def check(build: Path, pattern: str, texts: list[str]) -> None:
    """What is empty can't be seen there, and is left out."""
    found = ask(build, "regex", pattern, texts)
    seen = [[(begin, end) for begin, end in row if begin != end] for row in found]
    pieces = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
    compare(texts, seen, lambda text: [place for _, place in pieces.pre_tokenize_str(text)])


@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_of_models_match_the_same(cpp_build: Path, texts: list[str], name: str) -> None:
    draw = random.Random(name)
    more = ["".join(draw.choices("aabbccdx'y  \n09.AB", k=draw.randrange(1, 12))) for _ in range(500)]
    check(cpp_build, PATTERNS[name], [*texts, *more])


@pytest.mark.parametrize("name", EVERY)
def test_every_character_has_the_same_properties(cpp_build: Path, name: str) -> None:
    check(
        cpp_build,
        EVERY[name],
        ["".join(map(chr, [*range(0xD800), *range(0xE000, 0x32400), *range(0xE0000, 0xE0200), 0x10FFFF]))],
    )


class Drawn:
    """A pattern of all that the engine knows."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def pattern(self, depth: int = 0) -> str:
        return "|".join(self.sequence(depth) for _ in range(self.draw.choice([1, 1, 2, 3])))

    def sequence(self, depth: int) -> str:
        return "".join(self.piece(depth) for _ in range(self.draw.randrange(0 if depth else 1, 4)))

    def piece(self, depth: int) -> str:
        kind = self.draw.random()
        if kind < 0.1:
            return self.draw.choice(PLACES)
        if kind < 0.5:
            one = self.draw.choice(CHARACTERS)
        elif kind < 0.8 or depth > 2:
            one = self.draw.choice(SETS)
        else:
            one = self.draw.choice(["(?:", "(", "(?i:"]) + self.pattern(depth + 1) + ")"
        if self.draw.random() < 0.4:
            return one + self.draw.choice(REPEATS)
        return one + (self.draw.choice(["?+", "*+", "++"]) if kind < 0.8 and self.draw.random() < 0.15 else "")


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.full), pytest.param(2, marks=pytest.mark.full)])
def test_drawn_patterns_match_the_same(cpp_build: Path, seed: int) -> None:
    drawn = Drawn(seed)
    held = 0
    for _ in range(300):
        pattern = drawn.pattern()
        some = [
            "".join(
                drawn.draw.choices(
                    "aaabbbcABCsSkK\u017f\u212a  \n\n1\u00b9\u00e9'.xx\u00b2", k=drawn.draw.randrange(14)
                )
            )
            for _ in range(20)
        ]
        found = answer(cpp_build, "regex", pattern, some)
        if isinstance(found, str):
            assert "not supported" in found, f"{pattern}: {found}"
            continue
        try:
            replace = normalizers.Replace(Regex(pattern), "|").normalize_str
        except Exception as error:  # what it raises has no type of its own
            assert "target of repeat operator is invalid" in str(error), pattern  # around a look: here it is a repeat
            continue
        for text, matches in zip(some, found, strict=True):
            made, at = "", 0
            for begin, end in matches:
                made += text[at:begin] + "|"
                at = end
            assert made + text[at:] == replace(text), f"{pattern!a} in {text!a}"
        held += 1
    assert held > 200
