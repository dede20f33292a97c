"""Names that mean something to a terminal, a plot, Markdown, HTML, a shell or a protobuf; and names that only look odd."""

from __future__ import annotations

import re

#: What a terminal would act on, if one of them reached it as it is.
HOSTILE = (
    "\x1b]0;x\x07", "\x9b31m\x85", "a\rb\nc\x7f", "\u202eabc\u2066", "a\u2028b\u2029c",
    "$x$ $\\frac{1}{2}$", "<script>alert(1)</script>&amp;", "'\"`'\"", "back\\slash\\", "a|b*c_d[e](f)#", "[bold]b[/bold] :key:",
    "${HOME}", "$(exit 3)", "`exit 3`; exit 3", "%s%n{0}{name}", "-->]]>", "x" * 300,
)  # fmt: skip
#: What a name may hold in the fields of a manifest, which have no control characters.
PLAIN = tuple(name for name in HOSTILE if name.isprintable() and len(name) <= 128)
#: Persian, emoji joined and newer than this Python, French, German, Sinhala, Hebrew with a mark, private use.
HARMLESS = (
    "می\u200cخواهم", "👨\u200d👩\u200d👧", "\U0001fae9", "Bonjour\u00a0!", "Vraiment\u202f?", "Donau\u00adschiff", "ශ්\u200dරී",
    "\u05d0\u200f", "\ue000\U000f0000",
)  # fmt: skip

_ACTED_ON = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def acted_on(printed: str) -> list[str]:
    """The characters in what was printed that a terminal acts on, but for line breaks and tabs."""
    return _ACTED_ON.findall(printed)
