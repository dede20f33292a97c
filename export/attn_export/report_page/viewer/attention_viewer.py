"""The attention viewer: pick a layer and a head, point at a word, a patch or a moment, and see what it looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attn_runtime import attention_maps
from attn_runtime.bundle import Bundle
from attn_runtime.errors import AttnError
from attn_runtime.page import Content, Html, joined, notes, paragraph, tag
from attn_runtime.tasks import AttentionMaps

from .drawn_arrays import data_uri, envelope, pixels_of
from .given import Given
from .packed_maps import MOST_BYTES, fitting, packed

_DATA = "attention-data"  # the id of what viewer.js reads
_HOW = (
    "Point at an entry, or go to it with the arrow keys, to see what it looks at: the stronger the colour, the more weight. "
    "[ and ] change the head, { and } the layer."
)


@dataclass(frozen=True)
class Viewer:
    """`views` are what viewer.js shows, one for each input; `maps` how many layers there are in all of them."""

    views: list[dict[str, Any]] = field(default_factory=list)
    maps: int = 0
    notes: tuple[str, ...] = ()


def looked_at(bundle: Bundle, given: Sequence[Given]) -> Viewer:
    """Run the bundle on each of `given`. What can't be shown of a golden case is a note; the user's own input is an error."""
    told = bundle.asset("attention_maps")
    if told is None or not given:
        return Viewer()
    looking = {entry["graph"] for entry in told}
    shown = [each for each in given if each.own or each.graph in ("", sorted(looking)[0])]
    views, left_out = [], []
    for each in shown:
        try:
            found = attention_maps(bundle.path, each.source, "cpu")
        except AttnError as error:
            if each.own:
                raise
            left_out.append(f"{each.title}: {error}")
            continue
        fitted = fitting(found.maps, MOST_BYTES // len(shown))
        title = found.title if each.own else f"{each.title}: {found.title.removeprefix('arrays: ')}"
        left_out += [f"{each.title}: {note}" for note in fitted.notes]
        views.append(_view(bundle, each, found, title) | packed(fitted.maps, fitted.averaged))
    return Viewer(views, sum(len(view["layers"]) for view in views), tuple(left_out))


def _view(bundle: Bundle, given: Given, found: AttentionMaps, title: str) -> dict[str, Any]:
    """What lies under the weights: the picture as the model sees it, the waveform."""
    image = bundle.asset("image")
    tensor = given.arrays.get(image["input"]) if image is not None else None
    picture = None if image is None or tensor is None else data_uri(pixels_of(tensor[0], image))
    if picture is None and found.picture is not None:
        picture = data_uri(found.picture)
    samples = found.samples
    return {
        "title": title,
        "notes": list(found.notes),
        "picture": picture,
        "wave": None if samples is None else envelope(samples),
        "seconds": None if samples is None else len(samples) / found.rate,
    }


def behind(viewer: Viewer) -> dict[str, Any]:
    """What the document needs of it: style, script and data; nothing without a map."""
    if not viewer.maps:
        return {}
    return {"style": _read("viewer.css"), "script": _read("viewer.js"), "data": {_DATA: {"views": viewer.views}}}


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def viewer_frame(bundle: Bundle, viewer: Viewer) -> Html:
    """The section: what viewer.js fills, or why there is nothing to look at."""
    if not viewer.maps:
        if bundle.asset("attention_maps") is None:
            return paragraph(
                joined(["The bundle has no attention outputs. Export it with ", tag("code", "--with-attention"),
                        " to look at what it looks at."]), "soft",
            )  # fmt: skip
        return notes(viewer.notes)
    return joined([paragraph(_HOW, "soft"), _frame(), notes(viewer.notes)])


def _frame() -> Html:
    """What viewer.js fills."""
    choices = [
        tag("label", name, " ", tag("select", id=f"viewer-{name}"), id=f"viewer-{name}-label")
        for name in ("input", "layer", "head")
    ]
    query = tag("div", id="viewer-query", class_="axis", role="slider", tabindex=0, aria_label="what looks")
    inside: list[Content] = [
        tag("noscript", paragraph("The attention viewer needs JavaScript.", "note")),
        tag("div", *choices, class_="choices"),
        tag("p", id="viewer-title", class_="soft"),
        tag("div", tag("h3", "What looks", id="viewer-query-title"), query),
        tag("div", tag("h3", "What it looks at", id="viewer-key-title"), tag("div", id="viewer-key", class_="axis"),
            id="viewer-other"),
        tag("p", id="viewer-told", aria_live="polite"),
        tag("div", tag("canvas", id="viewer-map", role="img"), tag("div", id="viewer-heads", class_="heads"),
            class_="overviews"),
    ]  # fmt: skip
    return tag("div", *inside, id="viewer")
