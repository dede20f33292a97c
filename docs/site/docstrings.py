"""What this repository's docstrings are written in, as reStructuredText.

They are plain text: paragraphs, `code` in single backticks, indented examples, and rows of a name, two spaces or more and
what it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_ROW = re.compile(r"\s*(\S.*?)\s{2,}(\S.*)$")
_CODE = re.compile(r"``?([^`]+)``?")


def as_rst(lines: Sequence[str]) -> list[str]:
    """Rows become a list of definitions, what else is indented a block as it stands, and nothing else is markup but `code`."""
    rst: list[str] = []
    state = "text"
    for line in lines:
        row = _ROW.match(line) if state != "block" else None
        indented = line.startswith(" ")
        if not line.strip():
            state = "block" if state == "block" else "text"
            rst.append("")
        elif row:
            rst += ["", _escaped(row[1]), "    " + _escaped(row[2])]
            state = "row"
        elif indented and state == "row":
            rst.append("    " + _escaped(line.strip()))
        elif indented:
            rst += [line] if state == "block" else ["", "::", "", line]
            state = "block"
        else:
            rst += [_escaped(line)] if state == "text" else ["", _escaped(line)]
            state = "text"
    return rst


def _escaped(text: str) -> str:
    parts = _CODE.split(text)
    plain = [re.sub(r"([\\*_|`])", r"\\\1", part) for part in parts[::2]]
    code = [f"``{part.strip()}``\\ " for part in parts[1::2]]
    return "".join(part for pair in zip(plain, [*code, ""], strict=True) for part in pair)
