"""Each pattern of the two schemas has a check of its own in C++ (bundle/patterns.cpp), which says what Python's `re` says."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[2] / "runtime" / "attn_runtime"


def patterns_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("pattern"), str):
            yield value["pattern"]
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from patterns_in(each)


SCHEMAS = [*ROOT.rglob("manifest.schema.json"), *ROOT.rglob("engine.schema.json")]
PATTERNS = sorted({pattern for path in SCHEMAS for pattern in patterns_in(json.loads(path.read_text()))})
#: Where the classes of the patterns begin and end, and what a careless check takes for a digit or a letter.
_LETTERS = (
    "\n +-./09:;@AFGTZ[\\]^_`afgz{~é\0\x1f\x7f\x9f\xa0"
    "\u2027\u2028\u202e\u202f\u2065\u2066\u2069\u206a\u0663\uff11\U0001f600"
)
_TEXTS = (
    st.text(st.sampled_from(_LETTERS), max_size=8)
    | st.from_regex(r"\d{1,4}[.]\d{1,3}|2026-01-31T12:00:00([.]\d{0,10})?(Z|[+-]\d\d:\d\d|z|)\n?", fullmatch=True)
    | st.from_regex(r"[\w.+-]{1,3}(/[\w.+-]{0,3}){0,3}", fullmatch=True)
)


def test_there_are_two_schemas() -> None:
    assert len(SCHEMAS) == 2 and len(PATTERNS) == 7


def asked(cpp_build: Path, questions: list[tuple[str, str]]) -> list[bool | None]:
    tool = [cpp_build / "tests" / "attn_read_bundles", "patterns"]
    done = subprocess.run(tool, input=json.dumps(questions).encode(), capture_output=True, timeout=60, check=True)
    answers: list[bool | None] = json.loads(done.stdout)
    return answers


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_is_known_and_says_what_re_says(cpp_build: Path, pattern: str) -> None:
    # $ is the very end in JSON Schema; in `re`, also before a last newline.
    rule = re.compile(pattern.removesuffix("$") + r"\Z")
    verdicts = set()

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(_TEXTS | st.from_regex(rule, fullmatch=True), min_size=50, max_size=100))
    def check(texts: list[str]) -> None:
        expected = [rule.search(text) is not None for text in texts]
        assert asked(cpp_build, [(pattern, text) for text in texts]) == expected
        verdicts.update(expected)

    check()
    assert verdicts == {True, False}


def test_another_pattern_is_not_known(cpp_build: Path) -> None:
    assert asked(cpp_build, [("^[0-9]*$", "1")]) == [None]
