"""Links of pages: what is broken is named, what is there is not, and anchors are those of a code host."""

from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CHECK = run_path(str(ROOT / "scripts/check_links.py"))


@pytest.fixture
def page(tmp_path):
    (tmp_path / "other.md").write_text(
        "# Own `code`, in 2 words!\n## Twice\n## Twice\n<a name='by-hand'></a>\n", encoding="utf-8"
    )
    return tmp_path / "page.md"


@pytest.mark.parametrize(
    "link",
    [
        "other.md",
        "other.md#own-code-in-2-words",
        "other.md#twice-1",
        "other.md#by-hand",
        "#here",
        ".",
        "https://example.org/x#y",
    ],
)
def test_what_is_there_passes(page, link):
    page.write_text(f"# Here\nA [link]({link}).\n", encoding="utf-8")
    assert CHECK["main"](page.parent) == 0


@pytest.mark.parametrize(
    "text", ["[a](gone.md)", "![a](gone.png)", "[a](other.md#gone)", "[a](#gone)", "[a]\n\n[a]: gone.md"]
)
def test_what_is_missing_is_named_with_its_line(page, text, capsys):
    page.write_text(f"# Here\n\nA link: {text}\n", encoding="utf-8")
    assert CHECK["main"](page.parent) == 1
    assert f"{page}:3: " in (told := capsys.readouterr().out) and "gone" in told


def test_code_holds_no_links(page):
    page.write_text("`[a](gone.md)`\n\n```\n[a](gone.md)\n```\n", encoding="utf-8")
    assert CHECK["main"](page.parent) == 0
