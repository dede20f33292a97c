"""What pages are made of: sections, tables, states, bars, cells of a heatmap."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from .html import Content, Html, joined, tag, text

_CLASSES = {"ok": "ok", "built": "ok", "was there": "ok", "passed": "ok", "fused": "ok", "failed": "fail", "note": "note",
            "skipped": "note", "not fused": "note"}  # fmt: skip
#: Steps of a heatmap's colour.
_STEPS = 9


def section(title: str, *body: Content, name: str = "") -> Html:
    """A heading and what stands under it; nothing where nothing does. `name` is for links to it."""
    inside = joined(body)
    return tag("section", tag("h2", title), inside, id=name or None) if inside else Html()


def paragraph(told: Content, kind: str = "", limit: int | None = 600) -> Html:
    """`kind` is "soft", "note" or "fail"."""
    return tag("p", told, class_=kind or None, limit=limit)


def notes(told: Iterable[str]) -> Html:
    return joined(paragraph(note, "note", 500) for note in told)


def verdict(told: Content, passed: bool, more: Content = None) -> Html:
    """The answer in a sentence."""
    return tag(
        "p", tag("b", told), " " if more else None, text(more, 2000), class_="verdict" if passed else "verdict fail"
    )


def state(word: str, title: str | None = None) -> Html:
    """ "ok", "failed", "fused", ...: a word in its colour."""
    return tag("span", word, class_=f"state {_CLASSES.get(word, '')}".rstrip(), title=title, limit=500)


def table(
    head: Sequence[Content], rows: Iterable[Sequence[Content]], numbers: Iterable[int] = (), limit: int = 500
) -> Html:
    """A table with a head; the columns `numbers` stand to the right. A cell may be a `heat_cell`. Nothing without rows."""
    right = set(numbers)

    def line(cells: Sequence[Content], kind: str) -> Html:
        return tag(
            "tr",
            *(
                cell
                if isinstance(cell, Html) and cell.startswith("<td")
                else tag(kind, cell, class_="n" if number in right else None, limit=limit)
                for number, cell in enumerate(cells)
            ),
        )

    body = [line(row, "td") for row in rows]
    if not body:
        return Html()
    inside = tag("table", tag("thead", line(head, "th")), tag("tbody", *body))
    return tag("div", inside, class_="table", tabindex=0)


def bar(share: float, told: str = "") -> Html:
    """A bar in a track that stands for the whole: `share` 0..1; one beyond is full, and in another colour."""
    over = not share <= 1
    width = 100.0 if over else max(share, 0.0) * 100
    filled = tag("rect", class_="over" if over else None, width=f"{width:.1f}", height=10)
    return tag(
        "svg", tag("rect", class_="track", width=100, height=10), filled, class_="bar", viewBox="0 0 100 10",
        preserveAspectRatio="none", role="img", aria_label=told or f"{width:.0f} %",
    )  # fmt: skip


def heat_cell(share: float | None, told: str, title: str = "") -> Html:
    """A cell of a table, of a colour as strong as the square root of `share` 0..1; beyond it is a failure, None is nothing."""
    if share is None:
        return tag("td", told, class_="heat", title=title or None)
    over = not share <= 1
    step = "over" if over else f"h{math.ceil(math.sqrt(max(share, 0.0)) * _STEPS)}"
    return tag("td", told, class_=f"heat {step}", title=title or None, limit=500)


def heat_legend(told: str) -> Html:
    """What the colours of a heatmap mean."""
    steps = [tag("span", "0 %"), *(tag("i", class_=f"h{step}") for step in range(_STEPS + 1)), tag("span", "100 %")]
    return tag("p", *steps, tag("span", told), class_="legend soft")


def figures(pairs: Iterable[tuple[Content, str]]) -> Html:
    """A row of figures, each with what it counts under it."""
    return tag("div", *(tag("div", tag("b", value), tag("span", what)) for value, what in pairs), class_="figures")


def details_list(pairs: Iterable[tuple[str, Content]]) -> Html:
    """Names with what belongs to each; those without are left out."""
    lines = [part for name, value in pairs if value for part in (tag("dt", name), tag("dd", value, limit=1000))]
    return tag("dl", *lines) if lines else Html()
