"""Each way out of the program: what it takes for its own is defused, and nothing else is changed."""

from __future__ import annotations

import html.parser
import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from attn_runtime import escape
from support.checks.foreign_names import HARMLESS, HOSTILE

REORDER = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}


@pytest.mark.parametrize("text", HARMLESS)
def test_what_languages_need_is_shown_as_it_is(text: str) -> None:
    assert escape.printable(text) == escape.printable_text(text) == escape.plot_text(text) == text
    assert escape.html_text(text) == escape.markdown_text(text).replace("\\", "") == text


def test_a_terminal_is_shown_all_but_what_it_acts_on() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    replaced = {point for point, (a, b) in enumerate(zip(every, escape.printable(every, None), strict=True)) if a != b}
    assert replaced == REORDER | {n for n, c in enumerate(every) if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"}}


def test_it_is_what_a_manifest_refuses() -> None:
    file = Path(escape.__file__).parent / "bundle" / "manifest.schema.json"
    pattern = re.compile(json.loads(file.read_text())["$defs"]["text"]["pattern"])
    for character in map(chr, [*range(0xD800), *range(0xE000, 0x10000)]):
        assert (escape.printable(character) == character) == bool(pattern.fullmatch(character)), hex(ord(character))


def test_a_name_is_one_line_of_bounded_length_and_a_text_keeps_its_lines() -> None:
    assert escape.printable("a\r\n\tb") == "a\ufffd\ufffd\ufffdb"
    assert escape.printable("x" * 300) == "x" * 200 + "..." and escape.printable("abc", 2) == "ab..."
    assert escape.printable("x" * 300, None) == "x" * 300
    assert escape.printable_text("a\n\tb\r\x9b31m") == "a\n\tb\ufffd\ufffd31m"


def test_a_message_is_one_line_whatever_a_library_wrote() -> None:
    assert escape.message("  failed:\r\n\tat\x0c x\x1b[2J\u2028 10\u00a0% ") == "failed: at x\ufffd[2J\ufffd 10\u00a0%"


@pytest.mark.parametrize("text", [*HOSTILE, r"a\$b$", "$" * 3, "\ufffe\uffff"])
def test_matplotlib_draws_the_characters_and_no_formula(text: str) -> None:
    matplotlib_text = pytest.importorskip("matplotlib.text")
    drawn = matplotlib_text.Text(0, 0, escape.plot_text(text, 1000))
    told, kind = drawn._preprocess_math(drawn.get_text())
    assert kind is False
    assert told == re.sub("[\ufffe\uffff]", "\ufffd", escape.printable(text, 1000))


def test_no_text_of_a_picture_goes_to_tex() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    from matplotlib.text import Text

    with matplotlib.rc_context({"text.usetex": True}):
        with escape.plotting():
            assert not Text(0, 0, r"\input{x}").get_usetex()
        assert Text(0, 0, "").get_usetex(), "the user's own pictures are as they were"
    with pytest.raises(ImportError), escape.plotting():
        raise ImportError("of what is drawn with")


@pytest.mark.parametrize("text", HOSTILE)
def test_html_is_text_between_tags_and_in_attributes(text: str) -> None:
    class Reader(html.parser.HTMLParser):
        seen: list[object]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.seen.append((tag, attrs))

        def handle_data(self, data: str) -> None:
            self.seen.append(data)

    reader = Reader()
    reader.seen = []
    shown = escape.printable(text, 1000)
    reader.feed(f'<p title="{escape.html_text(text, 1000)}">{escape.html_text(text, 1000)}</p>')
    reader.close()
    assert reader.seen[0] == ("p", [("title", shown)]) and "".join(map(str, reader.seen[1:])) == shown


@pytest.mark.parametrize("text", [*HOSTILE, "</script>", "<!--"])
def test_json_in_a_page_ends_no_tag_and_is_what_a_terminal_is_shown(text: str) -> None:
    written = escape.html_json({"n": [text, 1.5, None, True], text: (text,)})
    assert written.isascii() and not set("<>&") & set(written)
    shown = escape.printable(text, None)
    assert json.loads(written) == {"n": [shown, 1.5, None, True], shown: [shown]}


@pytest.mark.parametrize("text", HOSTILE)
def test_markdown_has_no_bar_tag_or_emphasis_of_the_text(text: str) -> None:
    plain = re.sub(r"\\[!-/:-@\[-`{-~]", "", escape.markdown_text(text, 1000))
    assert not re.search(r"[|`*<>\[\]#~$&\\\x00-\x1f]", plain)
    assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", escape.markdown_text(text, 1000)) == escape.printable(text, 1000)
    code = escape.markdown_code(text, 1000)
    assert code[0] == code[-1] == "`" and "`" not in code[1:-1] and not re.search(r"(?<!\\)\|", code)


def test_underscores_inside_of_words_are_left_alone_in_markdown() -> None:
    assert escape.markdown_text("key_padding_mask _em_ a_") == r"key_padding_mask \_em\_ a\_"


def test_a_shell_gets_the_words_and_runs_none() -> None:
    words = [*HOSTILE, *HARMLESS, "-n", "", "a b"]
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {escape.shell_words(*words)}"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == words and done.stderr == b""


@pytest.mark.parametrize("text", [*HOSTILE, *HARMLESS, ""])
def test_protobuf_reads_the_string_back(text: str) -> None:
    written = escape.proto_string(text)
    assert written.isascii() and written.isprintable()
    struct, text_format = (pytest.importorskip(f"google.protobuf.{name}") for name in ("struct_pb2", "text_format"))
    assert text_format.Parse(f"string_value: {written}", struct.Value()).string_value == text


def test_a_line_of_a_log_keeps_what_it_can_not_hold_in_writing() -> None:
    assert escape.log_line("a\nb\x1b[2J\u202ec\ud800 é\t") == r"a\nb\x1b[2J\u202ec\ud800 é\t"
