"""The whole page in one file. Its policy takes the style and the script that are in it, by their hashes, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..escape import html_json
from .html import Content, Html, joined, tag


def document(
    title: str, body: Iterable[Content], *, style: str = "", script: str = "", data: Mapping[str, Any] | None = None
) -> str:
    """An HTML page. `style` comes behind that of all pages; `script` and the `data` that it reads, by the id of its element
    each, are of this repository, and what the data say is text.
    """
    css = f"{_style()}{style}"
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(css, script), limit=None),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        _as_it_is("style", css),
    ]
    told = [
        _as_it_is("script", html_json(value), type="application/json", id=key) for key, value in (data or {}).items()
    ]
    code = [_as_it_is("script", script)] if script else []
    inside = joined([*body, *told, *code])
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', tag('main', inside)), lang='en')}\n"


def _policy(css: str, script: str) -> str:
    allowed = [f"style-src '{_hash(css)}'", *([f"script-src '{_hash(script)}'"] if script else [])]
    return "; ".join(["default-src 'none'", "img-src data:", *allowed, "base-uri 'none'", "form-action 'none'"])


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _as_it_is(name: str, content: str, type: str | None = None, id: str | None = None) -> Html:
    """A tag whose content no parser takes for markup, which nothing but its own end can end."""
    assert "</" + name not in content.lower() and "<!--" not in content
    return tag(name, Html(content), type=type, id=id)


@lru_cache(maxsize=1)
def _style() -> str:
    return Path(__file__).with_name("style.css").read_text(encoding="utf-8")
