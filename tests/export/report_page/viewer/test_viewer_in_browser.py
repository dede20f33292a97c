"""The attention viewer in a real Chromium: pointing, keys, what a hostile bundle says; and nothing on the console."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export import report
from attn_runtime.preprocess.wav import write_wav
from PIL import Image
from support.attention import looking
from support.models.tiny_generators import Tiny
from support.pages import chromium
from support.pages.chromium import Chromium

pytestmark = pytest.mark.skipif(chromium.why_unavailable() is not None, reason=str(chromium.why_unavailable()))

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of each kind."""
    folder = tmp_path_factory.mktemp("pages")
    loud = np.zeros(1000, np.float32)
    loud[600:700] = 0.9
    write_wav(folder / "loud.wav", loud, 1000)
    made = {
        "picture": (looking.watcher(folder / "picture.attn"), str(looking.lamp(folder / "lamp.png"))),
        "text": (looking.uniform(folder / "text.attn"), "very good ."),
        "sound": (looking.sound(folder / "sound.attn"), str(folder / "loud.wav")),
        "translation": (looking.translator(folder / "tiny.attn", Tiny(attention=True, layers=1, max_length=12)), "w5 w7 w3"),
        "hostile": (looking.uniform(folder / "evil.attn", words=("[PAD]", "[UNK]", EVIL.replace(" ", "")), name=EVIL),
                    EVIL.replace(" ", "")),
    }  # fmt: skip
    for kind, (bundle, given) in made.items():
        report(bundle, folder / f"{kind}.html", inputs=[given])
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as browser:
        yield browser


@pytest.fixture
def shown(browser: Chromium, pages: Path) -> Iterator[Any]:
    """Opens a page of one kind; in the end nothing may have been said on the console."""
    browser.said.clear()

    def show(kind: str) -> Chromium:
        browser.open(pages / f"{kind}.html")
        return browser

    yield show
    assert browser.said == []


def told(browser: Chromium) -> str:
    return str(browser.run("document.getElementById('viewer-told').textContent"))


def focus(browser: Chromium) -> None:
    browser.run("document.getElementById('viewer-query').focus()")


def middle(browser: Chromium, script: str) -> tuple[float, float]:
    """The middle of an element, which is scrolled to."""
    box = browser.run(f"(() => {{ const e = {script}; e.scrollIntoView({{block: 'center'}});"
                      "const b = e.getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; })()")  # fmt: skip
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def test_a_cell_is_pointed_at_and_gone_to_with_the_keys(shown: Any) -> None:
    browser = shown("picture")
    assert told(browser) == "class token looks at row 2, column 1 100 %"
    x, y = middle(browser, "document.querySelector('#viewer-query canvas')")  # row 1, column 2
    browser.point(x, y)
    assert told(browser) == "row 1, column 2 looks at row 1, column 3 100 %"
    focus(browser)
    for key, looks_at in (("ArrowDown", "row 2, column 3"), ("ArrowLeft", "row 2, column 2"), ("End", "class token"),
                          ("Home", "row 2, column 1")):  # fmt: skip
        browser.press(key)
        assert told(browser).endswith(f" looks at {looks_at} 100 %"), key
    slider = "document.getElementById('viewer-query')"
    assert browser.run(f"[{slider}.tabIndex, {slider}.role, {slider}.ariaValueNow, {slider}.ariaValueMax]") == [
        0, "slider", "0", str(looking.CELLS - 1)
    ]  # fmt: skip
    assert browser.run(f"{slider}.ariaValueText") == told(browser)


def test_the_cell_that_is_looked_at_is_the_brightest(shown: Any, tmp_path: Path) -> None:
    browser = shown("picture")
    browser.picture(tmp_path / "canvas.png", "#viewer-query canvas")
    drawn = np.asarray(Image.open(tmp_path / "canvas.png").convert("RGB")).astype(float)
    rows, columns = drawn.shape[0] // looking.ROWS, drawn.shape[1] // looking.COLUMNS
    warm = drawn[..., 0] - drawn[..., 2]
    cells = warm[: rows * looking.ROWS, : columns * looking.COLUMNS].reshape(
        looking.ROWS, rows, looking.COLUMNS, columns
    )
    found = cells.mean((1, 3))
    assert np.unravel_index(found.argmax(), found.shape) == (2, 1) and found.max() > 60 > 5 * np.delete(found, 11).max()


def test_words_of_an_answer_look_at_the_source(shown: Any) -> None:
    browser = shown("translation")
    layers = browser.run("[...document.getElementById('viewer-layer').options].map((one) => one.text)")
    assert layers == ["encoder: encoder_self", "first: layer0_self", "first: layer0_cross"]
    words = "[...document.querySelectorAll('#viewer-key .word')].map((one) => one.textContent)"
    assert browser.run(words) == ["w5", "w7", "w3"], "it opens where the answer looks at the source"
    assert (
        browser.run("document.getElementById('viewer-query-title').textContent") == "What looks: word that is written"
    )
    focus(browser)
    browser.press("{")
    assert browser.run("document.getElementById('viewer-layer').value") == "1"
    before = told(browser)
    browser.press("]")
    assert browser.run("document.getElementById('viewer-head').selectedOptions[0].text") == "head 0"
    assert told(browser) == before, "the first word has one word to look at"
    browser.press("ArrowRight")
    assert told(browser) != before


def test_weights_are_those_of_the_model(shown: Any, pages: Path) -> None:
    from attn_runtime import attention_maps

    browser = shown("translation")
    cross = attention_maps(pages / "tiny.attn", "w5 w7 w3").maps[2].weights
    for head, expected in (("-1", cross.mean(0)), ("1", cross[1])):
        browser.run(f"(() => {{ const s = document.getElementById('viewer-head'); s.value = {head};"
                    "s.dispatchEvent(new Event('change')); })()")  # fmt: skip
        titles = browser.run("[...document.querySelectorAll('#viewer-key .word')].map((one) => parseFloat(one.title))")
        np.testing.assert_allclose(np.array(titles) / 100, expected[0], atol=6e-3)


def test_a_moment_is_pointed_at(shown: Any) -> None:
    browser = shown("sound")
    x, y = middle(browser, "document.querySelector('#viewer-query canvas')")
    browser.point(x, y)
    assert told(browser).startswith("0.50 s looks at 0.60 s 100 %")


def test_names_stay_text(shown: Any) -> None:
    browser = shown("hostile")
    evil = EVIL.replace(" ", "")
    assert browser.run("[...document.querySelectorAll('#viewer-query .word')].map((one) => one.textContent)") == [evil]
    assert told(browser) == f"“{evil}” looks at “{evil}” 100 %"
    assert browser.run("document.querySelectorAll('img').length") == 0
    assert browser.run("document.querySelector('h1').textContent") == EVIL


@pytest.mark.parametrize("kind", ["picture", "text", "sound", "translation", "hostile"])
def test_every_kind_is_drawn_in_light_in_dark_and_on_paper(shown: Any, kind: str, tmp_path: Path) -> None:
    browser = shown(kind)
    grounds = []
    for dark, printed in ((False, False), (True, False), (True, True)):
        browser.look(dark, printed)
        browser.picture(tmp_path / "page.png")
        page = np.asarray(Image.open(tmp_path / "page.png").convert("L")).astype(int)
        grounds.append(int(np.median(page)) // 128)
        assert page.std() > 5, "something is drawn"
    browser.look()
    assert grounds == [1, 0, 1], "paper is light"
    for width in (400, 1100):
        browser.resize(width)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out at the side"


def test_the_policy_refuses_what_is_not_in_the_page(browser: Chromium, pages: Path, tmp_path: Path) -> None:
    """A script that somebody puts into a page does not run: what names as text are is not all that stands between."""
    page = (pages / "text.html").read_text().replace("</main>", "<script>document.title = 'run'</script></main>")
    (tmp_path / "spoilt.html").write_text(page)
    browser.said.clear()
    browser.open(tmp_path / "spoilt.html")
    assert browser.run("document.title") == "text: report"
    assert any("Content Security Policy" in line for line in browser.said), json.dumps(browser.said)
    browser.said.clear()
