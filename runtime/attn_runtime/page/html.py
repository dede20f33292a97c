"""Markup as a type of its own: a plain string that goes into a tag is text, whatever stands in it."""

from __future__ import annotations

from collections.abc import Iterable

from ..escape import html_text

#: Tags without content.
_EMPTY = {"meta", "img", "br"}


class Html(str):
    """Markup that is ready for a page. Only this module makes any, out of tags written here and text that was escaped."""

    __slots__ = ()


Content = str | Html | None


def text(value: Content, limit: int | None = 200) -> Html:
    """`value` as it is shown: markup as it is, any other string escaped, in one line of at most `limit` characters."""
    if isinstance(value, Html):
        return value
    return Html(html_text(value, limit) if value else "")


def joined(parts: Iterable[Content]) -> Html:
    """All of them, one behind the other."""
    return Html("".join(text(part) for part in parts))


def tag(name: str, /, *inside: Content, limit: int | None = 200, **attributes: str | int | float | bool | None) -> Html:
    """The tag `name` around `inside`. `class_` is class, and `aria_label` is aria-label; False and None leave one out.

    `limit` is of the characters of each text, in attributes too.
    """
    given = {key: value for key, value in attributes.items() if value is not None and value is not False}
    written = "".join(_attribute(key, value, limit) for key, value in given.items())
    if name in _EMPTY:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{''.join(text(part, limit) for part in inside)}</{name}>")


def _attribute(key: str, value: str | int | float, limit: int | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{html_text(str(value), limit)}"'
