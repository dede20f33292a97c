"""Whatever is a plain string becomes text, in a tag and in an attribute; markup stays as it is."""

from __future__ import annotations

import pytest
from attn_runtime.page import Html, joined, tag, text
from support.checks.foreign_names import HARMLESS, HOSTILE, acted_on
from support.pages.page_tags import PageTags


@pytest.mark.parametrize("name", [*HOSTILE, *HARMLESS])
def test_a_string_is_text(name: str) -> None:
    page = tag("p", name, tag("b", name, limit=None), title=name, class_="a", limit=None)
    read = PageTags(page)
    assert read.names == ["p", "b"] and not acted_on(page)
    shown = dict(read.tags[0][1])["title"]
    assert read.text == f"{shown}{shown}" and (shown == name or acted_on(name))


def test_markup_stays_and_attributes_are_named_as_html_has_them() -> None:
    assert tag("p", tag("b", "1 < 2"), " ", None) == "<p><b>1 &lt; 2</b> </p>"
    assert (
        tag("img", aria_label="a", hidden=True, class_=None, id=False, width=0)
        == '<img aria-label="a" hidden width="0">'
    )
    assert joined(["<", tag("b", "x"), None]) == "&lt;<b>x</b>" and isinstance(joined([]), Html)
    assert text("a" * 300) == "a" * 200 + "..." and text(Html("a" * 300)) == "a" * 300
