"""Pages of HTML in one file: tags whose text is escaped by construction, tables, bars and curves, and the document around them.

html       markup as a type of its own; whatever is a plain string becomes text
parts      sections, tables, states, bars, cells of a heatmap
drawings   lines over a number, and marks along a range
whole_page the whole page: its style inside, nothing loaded, and a policy that lets nothing else in
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .drawings import Curve, curves, marks
    from .html import Content, Html, joined, tag, text
    from .parts import (
        bar,
        details_list,
        figures,
        heat_cell,
        heat_legend,
        notes,
        paragraph,
        section,
        state,
        table,
        verdict,
    )
    from .whole_page import document

__all__ = [
    "Content",
    "Curve",
    "Html",
    "bar",
    "curves",
    "details_list",
    "document",
    "figures",
    "heat_cell",
    "heat_legend",
    "joined",
    "marks",
    "notes",
    "paragraph",
    "section",
    "state",
    "table",
    "tag",
    "text",
    "verdict",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "drawings": ["Curve", "curves", "marks"],
        "whole_page": ["document"],
        "html": ["Content", "Html", "joined", "tag", "text"],
        "parts": [
            "bar",
            "details_list",
            "figures",
            "heat_cell",
            "heat_legend",
            "notes",
            "paragraph",
            "section",
            "state",
            "table",
            "verdict",
        ],
    },
)
