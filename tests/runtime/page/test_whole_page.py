"""The document lets in what is in it, by its hash, and nothing else; data are data, whatever they say."""

from __future__ import annotations

import json

import pytest
from attn_runtime.page import document, paragraph
from support.checks.foreign_names import HARMLESS, HOSTILE, acted_on
from support.pages.page_tags import check_sealed

NAMES = ("</script><script>alert(1)</script>", "<!--<script>", "]]>", *HOSTILE, *HARMLESS)


def test_a_page_without_a_script_allows_none() -> None:
    assert "script" not in check_sealed(document("title", [paragraph("told")])).policy


@pytest.mark.parametrize("name", NAMES)
def test_data_are_text(name: str) -> None:
    page = document(
        name, [paragraph(name)], style="p { color: red }", script="'use strict'", data={"told": {name: [name]}}
    )
    read = check_sealed(page)
    assert page.isascii() or name in HARMLESS or acted_on(name)
    data, script = read.inside["script"]
    assert script == "'use strict'" and data.isascii() and not set("<>&") & set(data)
    ((key, (value,)),) = json.loads(data).items()
    assert key == value and (value == name or acted_on(name)) and not acted_on(value)


def test_code_that_would_end_its_own_tag_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        document("title", [], script="'</script>'")
