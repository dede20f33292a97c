"""`attn_export.report`: every section, put together and written whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from attn_runtime import arguments
from attn_runtime.bundle import Bundle
from attn_runtime.errors import UsageError
from attn_runtime.files import check_file, write_file
from attn_runtime.page import document, section

from ..attention import inspect
from . import attention_blocks, engines, examples, latency, overview, precisions, proof, provenance
from .viewer import Given, Viewer, behind, given_inputs, looked_at, viewer_frame

_SUFFIXES = (".html", ".htm")


@dataclass(frozen=True)
class ReportPage:
    """The `file` that was written, its `size` in bytes, and how many attention maps can be looked at in it. `notes` say what was
    left out of it, a line each."""

    file: str
    size: int
    maps: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "notes": list(self.notes)}


def report(path: str | os.PathLike[str], output: str | os.PathLike[str], *, inputs: Sequence[str] = ()) -> ReportPage:
    """Write a page about the bundle at `path` to the file `output` (.html), which needs nothing else and loads nothing.

    `inputs` are looked at in it: texts, or paths of pictures, recordings or .npz files, whichever the bundle takes; without them
    it shows a golden case. Raises BundleError, UsageError for another suffix, OutputError when `output` can't be written,
    and what `attn_runtime.attention_maps` and `classify` raise for an input that the bundle does not take.
    """
    arguments.expect(arguments.PATH, path=path)
    arguments.expect(arguments.PATH, output=output)
    arguments.expect(arguments.TEXTS, inputs=inputs)
    file = Path(output)
    if file.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"output {file}: got suffix {file.suffix or '(none)'}, expected .html")
    check_file(file)
    bundle = Bundle.open(path)
    given = given_inputs(bundle, inputs)
    shown = looked_at(bundle, given)
    content = _page(bundle, given, shown).encode()
    write_file(file, content)
    return ReportPage(str(file), len(content), shown.maps, shown.notes)


def _page(bundle: Bundle, given: Sequence[Given], shown: Viewer) -> str:
    """Every section that has something to tell, below links to each."""
    files = inspect(bundle.path)
    parts = {
        "Proof": proof.told(bundle),
        "What it looks at": viewer_frame(bundle, shown),
        "Examples": examples.told(bundle, given),
        "Precisions": precisions.told(bundle),
        "Engines": engines.told(files),
        "Attention blocks": attention_blocks.told(files),
        "Latency": latency.told(bundle),
        "Sizes and provenance": provenance.told(bundle),
    }
    names = {title: title.lower().replace(" ", "-") for title, body in parts.items() if body}
    body = [overview.told(bundle, names), *(section(title, parts[title], name=names[title]) for title in names)]
    return document(f"{bundle.name}: report", body, **behind(shown))
