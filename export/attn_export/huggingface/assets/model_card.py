"""What a model card says of the licence: the front matter of README.md, of which a few lines are read and nothing else."""

from __future__ import annotations

import re

from attn_runtime.escape import printable
from attn_runtime.files import irregular

from .. import SavedModel

#: A model card is a page or two.
_MAX_BYTES = 1 << 20
_MOST = 253  # characters before it is cut with "...": 256, as manifest.schema.json has it
_KEY = re.compile(r"(license|licence|license_name)[ \t]*:[ \t]*(.*)")
_ITEM = re.compile(r"[ \t]*-[ \t]+(.+)")


def licence(saved: SavedModel) -> str | None:
    """The licence that README.md names ("apache-2.0"; "other: NAME" where it is one of its own), None where it names none.

    It is not looked up, and a card that can't be read names none; `saved.notes` says so.
    """
    path = saved.folder / "README.md"
    if not path.is_file() or irregular(path):
        saved.notes.append("no licence is named: the folder has no model card (README.md)")
        return None
    with path.open("rb") as file:
        text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    found = _front_matter(text.removeprefix("\ufeff"))
    values = found.get("license") or found.get("licence") or []
    names = found.get("license_name", [])
    if values == ["other"] and names:
        values = [f"other: {names[0]}"]
    if not values:
        saved.notes.append("no licence is named: the model card (README.md) says none")
        return None
    return printable(", ".join(values), _MOST)


def _front_matter(text: str) -> dict[str, list[str]]:
    """The values of the keys that are wanted: of YAML, what cards use of it (plain and quoted words, lists of them)."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    found: dict[str, list[str]] = {}
    into: list[str] | None = None
    for line in lines[1:]:
        if line.strip() in ("---", "..."):
            return found
        if key := _KEY.fullmatch(line):
            into = found.setdefault(key.group(1), [])
            into += _words(key.group(2))
        elif (item := _ITEM.fullmatch(line)) and into is not None:
            into += _words(item.group(1))
        elif line.strip():
            into = None
    return {}  # front matter without an end is none


def _words(value: str) -> list[str]:
    value = value.strip()
    parts = value[1:-1].split(",") if value.startswith("[") and value.endswith("]") else [value]
    words = [_plain(part.strip()) for part in parts]
    return [word for word in words if word and word not in ("null", "~", "|", ">")]


def _plain(word: str) -> str:
    if len(word) > 1 and word[0] == word[-1] and word[0] in "\"'":
        return word[1:-1].strip()
    return re.split(r"[ \t]#", word, maxsplit=1)[0].strip()
