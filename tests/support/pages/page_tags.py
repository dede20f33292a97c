"""What a page of HTML is made of, as a browser's parser would see it."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

#: Without content, and without an end.
_EMPTY = {"meta", "img", "br"}


class PageTags(HTMLParser):
    """The tags of a page with their attributes, its text, and what lies in its styles and scripts. Fails on tags that cross."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.text = ""
        self.inside: dict[str, list[str]] = {"style": [], "script": []}
        self.comments: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open, f"{self._open} have no end"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> ends another tag"

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in self.inside:
            self.inside[self._open[-1]].append(data)
        else:
            self.text += data

    @property
    def names(self) -> list[str]:
        """The tags without their attributes, in order."""
        return [tag for tag, _ in self.tags]

    @property
    def policy(self) -> str:
        """The Content-Security-Policy of the page."""
        (found,) = (
            dict(attrs)["content"]
            for tag, attrs in self.tags
            if tag == "meta" and dict(attrs).get("http-equiv") == "Content-Security-Policy"
        )
        return found or ""


def check_sealed(page: str) -> PageTags:
    """The page loads nothing, and its policy allows the style and the scripts that are in it and no others."""
    read = PageTags(page)
    assert not read.comments
    for tag, attributes in read.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form"), tag
        for name, value in attributes:
            assert not name.startswith("on") and name != "style", f"{tag} {name}: refused by the policy"
            assert name != "src" or (value or "").startswith("data:image/png;base64,"), value
            assert name != "href" or re.fullmatch("#[a-z-]+", value or ""), value
    scripts = [dict(attributes) for tag, attributes in read.tags if tag == "script"]
    code = [text for text, told in zip(read.inside["script"], scripts, strict=True) if "type" not in told]
    allowed = {f"'{_hash(text)}'" for text in (*read.inside["style"], *code)}
    assert set(re.findall("'sha256-[^']*'", read.policy)) == allowed
    assert read.policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in read.policy and "http" not in read.policy and ("script-src" in read.policy) == bool(code)
    return read


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
