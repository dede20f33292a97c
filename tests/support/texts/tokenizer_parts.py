"""What the C++ build makes of texts with one part of a tokenizer; and the patterns of models that people have."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#: Of models, and behind those what they have not.
PATTERNS = {
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "cl100k": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "cl100k possessive": r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    "o200k": r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    + CONTRACTIONS
    + r"?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    + CONTRACTIONS
    + r"?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "deepseek numbers": r"\p{N}{1,3}",
    "deepseek kanji": "[一-龥぀-ゟ゠-ヿ]+",
    "deepseek words": r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "kimi": r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "clip": r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+",
    "bloom": r" ?[^(\s|[.,!?…。，、।۔،])]+",
    "falcon": "[0-9][0-9][0-9]",
    "smiles": r"(\[[^\]]+]|Br?|Cl?|N|O|S|P|F|I|b|c|n|o|s|p|\(|\)|\.|=|#|-|\+|\\|\/|:|~|@|\?|>|\*|\$|\%[0-9]{2}|[0-9])",
    "spaces": " {2,}",
    "space": " ",
    "look": r"(?<=\p{L})(?=\p{N})|(?<!a)b|c(?!ab|\d{1,3}x?d)",
    "anchors": r"^\w|\w$|\Aa|\z|\bfo+|o\B|.\Z",
    "empty": "a*",
    "lazy": r"a{1,3}?b|\w+?'|\s{,2}?\d{2,}|x??y",
    "repeats": r"(?:\p{N}{1,3}){2}|(ab|a)(bc|c)?x?|(?:a|b|ab)*c",
    "escapes": r"[\x41-\x{5A}é\t\-\]a-]+|\é|[^\W\d]|\p{^L}\P{N}[\S\D]|[[a-f]&&[^b-d]]|[]x]",
    "options": r"a(?i)b|k(?-i:c)|\p{Lu}[a-k]",
    "scripts": r"\p{Han}+|\p{Hiragana}+|\p{Katakana}|\p{Hangul}+|\p{Latin}+|\p{Cyrillic}+|\p{Greek}+|\p{Arabic}+|\p{Hebrew}+"
    r"|\p{Thai}+|\p{Devanagari}+|\p{Bengali}+|\p{White_Space}",
}


def ask(build: Path, part: str, value: Any, texts: Sequence[str]) -> list[Any]:
    """For each text what runtime/cpp/tests/tools/tokenizer_parts.cpp says; raises AssertionError for a part that is refused."""
    found = answer(build, part, value, texts)
    assert isinstance(found, list), found
    return found


def answer(build: Path, part: str, value: Any, texts: Sequence[str]) -> Any:
    """The same, or what was refused."""
    asked = json.dumps([{"part": part, "value": value, "texts": list(texts)}]).encode()
    done = subprocess.run([build / "tests" / "attn_parts_tool"], input=asked, capture_output=True, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)[0]


def compare(texts: Sequence[str], found: Sequence[Any], expected: Callable[[str], Any]) -> None:
    """Each `found` is what is expected of its text."""
    for text, one in zip(texts, found, strict=True):
        assert one == expected(text), ascii(text)
