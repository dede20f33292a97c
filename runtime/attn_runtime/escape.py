r"""Text that nobody vouches for, on its way out: one function for each place that gives some characters a meaning.

A name out of a model, a bundle, a file system or another library's message may hold anything: "\x1b]0;x\x07" sets the title
of a terminal, "$x$" is a formula in a plot, "<b>" a tag in a page, "`id`" a command in a shell. Text is kept as it is
inside the program and in JSON, and passes one of these functions where it leaves.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: What a terminal acts on: control characters (C1 and DEL too), the separators of lines and paragraphs, the marks that
#: reorder a line; and halves of surrogate pairs, which no stream takes. All else is shown, whatever this Python's
#: Unicode knows of it: joiners, soft hyphens, private use, spaces that don't break.
_ACTED_ON = "\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_IN_A_LINE = f"[{_ACTED_ON}]"
_IN_A_TEXT = f"(?![\t\n])[{_ACTED_ON}]"
_BREAKS = r" *[\t\n\r\f\v][ \t\n\r\f\v]*"
_MARKDOWN = r"[\\`*{}\[\]<>#|~!&$]|(?<![^\W_])_|_(?![^\W_])"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def printable(text: str, limit: int | None = 200) -> str:
    """For a terminal: one line of at most `limit` characters, in which a character that a terminal acts on is U+FFFD."""
    clean = re.sub(_IN_A_LINE, _REPLACEMENT, text)
    return clean if limit is None or len(clean) <= limit else f"{clean[:limit]}..."


def printable_text(text: str) -> str:
    """For a terminal: a text of any length, whose line breaks and tabs stay."""
    return re.sub(_IN_A_TEXT, _REPLACEMENT, text)


def message(text: str) -> str:
    """For a terminal: what went wrong, maybe in the words of a library, in one line: a line break is a space."""
    return printable(re.sub(_BREAKS, " ", text).strip(" "), None)


def log_line(text: str) -> str:
    """For a log: one line of any length, in which what a terminal acts on is written as Python writes it."""
    return re.sub(_IN_A_LINE, lambda found: found[0].encode("unicode_escape").decode(), text)


def plot_text(text: str, limit: int = 200) -> str:
    """For a picture: matplotlib takes what stands between two dollars for a formula, and an SVG is XML."""
    return xml_line(text, limit).replace("$", r"\$")


def xml_line(text: str, limit: int | None = 200) -> str:
    """For a writer of XML, which escapes what is markup: one line. XML 1.0 has no control characters, no U+FFFE and U+FFFF."""
    return re.sub("[\ufffe\uffff]", _REPLACEMENT, printable(text, limit))


def xml_lines(text: str) -> str:
    """The same for a text of any length, whose line breaks and tabs stay."""
    return re.sub("[\ufffe\uffff]", _REPLACEMENT, printable_text(text))


@contextmanager
def plotting() -> Iterator[None]:
    """While a picture is drawn and written: no text of it goes to TeX, whatever the user's matplotlibrc says, and no warning of a
    character that the font lacks to stderr."""
    try:
        import matplotlib
    except ImportError:  # who draws tells of that
        yield
    else:
        with matplotlib.rc_context({"text.usetex": False}), warnings.catch_warnings():
            # A character that the font lacks is drawn as a box, which everybody sees.
            warnings.filterwarnings("ignore", "Glyph .* missing from")
            yield


def html_text(text: str, limit: int | None = 200) -> str:
    """For an HTML page, between tags or in a quoted attribute."""
    import html

    return html.escape(printable(text, limit))


def html_json(value: object) -> str:
    """For a script of type application/json in an HTML page: plain ASCII, and nothing in it begins a tag or a comment. Its texts
    are for people to read: each is one line, as `printable` makes it, of any length."""
    import json

    written = json.dumps(_printable_inside(value), allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda found: f"\\u{ord(found[0]):04x}", written)


def _printable_inside(value: object) -> object:
    if isinstance(value, str):
        return printable(value, None)
    if isinstance(value, dict):
        return {printable(str(key), None): _printable_inside(each) for key, each in value.items()}
    return [_printable_inside(each) for each in value] if isinstance(value, list | tuple) else value


def markdown_text(text: str, limit: int | None = 200) -> str:
    """For Markdown, in a cell of a table too. An underscore inside a word means nothing, and stays as it is."""
    return re.sub(_MARKDOWN, r"\\\g<0>", printable(text, limit))


def markdown_code(text: str, limit: int = 200) -> str:
    """For Markdown, in the type of code. No escape holds in there but that of a table's bar; a backtick becomes a quote."""
    return "`" + printable(text, limit).replace("`", "'").replace("|", r"\|") + "`"


def shell_words(*words: str) -> str:
    """For a shell, each a word of one command. On a terminal it passes `printable` besides."""
    import shlex

    return shlex.join(words)


def prometheus_label(text: str) -> str:
    """For Prometheus' text format: what stands between the quotes of a label's value."""
    return prometheus_help(text).replace('"', r"\"")


def prometheus_help(text: str, limit: int = 1000) -> str:
    """For Prometheus' text format: what stands behind a metric's name in its HELP."""
    return printable_text(text[:limit]).replace("\\", r"\\").replace("\n", r"\n")


def proto_string(text: str) -> str:
    """For protobuf's text form: a string with its quotes, where what is no plain ASCII is in octal, byte by byte."""
    return '"' + "".join(map(_proto_byte, text.encode("utf-8", "surrogateescape"))) + '"'


def _proto_byte(byte: int) -> str:
    character = chr(byte)
    return character if 32 <= byte < 127 and character not in "\"\\'" else f"\\{byte:03o}"
