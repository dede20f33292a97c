"""Which models of libraries were tried, and how far each came: what `scripts/survey_models.py` found, packaged beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attn_runtime.errors import UsageError, did_you_mean
from attn_runtime.files import shown

_FILE = Path(__file__).with_name("surveyed.json")
#: Library -> the SOURCE by which any model of it is tried.
_SOURCES = {"transformers": "FOLDER", "timm": "timm:NAME"}


def surveyed_models(library: str = "transformers", word: str = "") -> dict[str, Any]:
    """The surveyed models of `library`, "transformers" or "timm", whose class, type or auto class has `word` in it.

    "versions" has the libraries they were tried with, "tried" how many models in all, and "models" for each its "class",
    "model_type" and "auto_class", the stages that it "passed", the first stage that "failed" and its "cause" (both None where
    none did). The models were small and had drawn weights. Raises UsageError where there is none, with the nearest names.
    """
    found: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    names = ("class", "model_type", "auto_class", "passed", "failed", "cause")
    every = [dict(zip(names, row, strict=True)) for row in found["models"].get(library, ())]
    if not every:
        raise UsageError(f"no model of {library} has been surveyed; attn-export to-onnx {_SOURCES[library]} tries one")
    for one in every:
        one["passed"] = one["passed"].split(",") if one["passed"] else []
    part = word.lower()
    chosen = [one for one in every if any(part in one[name].lower() for name in names[:3])]
    if not chosen:
        known = dict.fromkeys(one[name] for one in every for name in names[:3])
        raise UsageError(
            f"{shown(word)}: no surveyed model of {library} has that in its class, type or auto class; "
            f"{did_you_mean(word, known)}all {len(every)} are listed without a word"
        )
    return {"versions": found["versions"], "tried": len(every), "models": chosen}
