"""docs/survey.md, from the results of scripts/survey_models.py."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attn_runtime.escape import markdown_code, markdown_text
from attn_runtime.files.atomic_write import write_file
from causes import cause_of
from classes import GENERATORS, TASKS, TIMM

Result = Mapping[str, Any]
_STAGES = ("exported", "tokens", "fp16", "rtx")
_LIBRARIES = ("transformers", "torch", "onnxruntime", "tensorrt-rtx-cu13")


def write_page(document: Path, results: Sequence[Result], of: int) -> None:
    """Write the page; `of` is how many classes there are."""
    made = [r for r in results if r["stages"].get("made", {}).get("state") == "passed"]
    generators = [r for r in made if r["auto_class"] in GENERATORS]
    # By what is told of those that have another state, or none: a cache of keys and values can't be seen from outside.
    cached = [r for r in generators if not re.search("keeps a state|keeps no keys and values", r.get("text", ""))]
    others = [r for r in made if r["auto_class"] in TASKS]
    timm = [r for r in made if r["auto_class"] == TIMM]
    lines = [
        "# Which models can be exported",
        "",
        "A small model with drawn weights of every class that transformers' auto classes name, and the smallest architecture of",
        "each family of timm, taken through the whole of `attn-export`: no code per architecture, no option. What real weights",
        "do to fp16 this page does not say.",
        "",
        f"Written by `scripts/survey_models.py`, with {', '.join(f'{name} {version(name)}' for name in _LIBRARIES)}. "
        f"{len(results)} of {of} classes were tried; of {len(results) - len(made)} of them no small model was made.",
        "",
        "| | exported, held against PyTorch | tokens proven | fp16 | TensorRT-RTX builds |",
        "|---|---|---|---|---|",
        _counts("generators with a key-value cache", cached),
        _counts("all generators", generators),
        _counts("other classes", others),
        _counts("timm, a model of each family", timm),
        "",
        f"{sum('fixed' in r['stages'].get('exported', {}) for r in made)} of those exported take one size of a dim alone.",
        "",
        "Each column is of those before it: a model that was not exported has no tokens, no fp16 and no engine.",
        "",
        "## By task",
        "| auto class | exported | of |",
        "|---|---|---|",
    ]
    for auto_class in (*GENERATORS, *TASKS, TIMM):
        group = [r for r in made if r["auto_class"] == auto_class]
        if group:
            lines.append(
                f"| {markdown_code(auto_class)} | {sum(_passed(r, 'exported') for r in group)} | {len(group)} |"
            )
    lines += ["", "## What failed, and whose it is", *_failures(results), "", "## Each class", *_each(made), ""]
    write_file(document, "\n".join(lines).encode())


def _passed(result: Result, stage: str) -> bool:
    return bool(result["stages"].get(stage, {}).get("state") == "passed")


def _counts(name: str, results: Sequence[Result]) -> str:
    cells = []
    for stage in _STAGES:
        asked = [r for r in results if stage == "exported" or stage in r["stages"]]
        good = sum(_passed(r, stage) for r in asked)
        cells.append(f"{good} of {len(asked)}" + (f" ({good / len(asked):.0%})" if asked else ""))
    return f"| {name} | {' | '.join(cells)} |"


def _failures(results: Sequence[Result]) -> list[str]:
    by_cause: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for result in results:
        if result["state"] != "passed":
            cause = cause_of(result)
            by_cause[result["last"], cause.whose, cause.text].append(result["class"])
    lines = ["| stage | whose | cause | classes |", "|---|---|---|---|"]
    largest: Callable[[Any], tuple[int, Any]] = lambda item: (-len(item[1]), item[0])  # noqa: E731
    for (stage, whose, text), names in sorted(by_cause.items(), key=largest):
        lines.append(
            f"| {stage} | {whose} | {markdown_text(text)} | {len(names)}: {', '.join(map(markdown_text, names))} |"
        )
    whose = Counter(cause_of(r).whose for r in results if r["state"] != "passed")
    lines += ["", "In all: " + ", ".join(f"{count} {name}" for name, count in whose.most_common()) + "."]
    return lines


def _each(made: Sequence[Result]) -> list[str]:
    lines = ["| class | " + " | ".join(_STAGES) + " | |", "|---|" + "---|" * (len(_STAGES) + 1)]
    for result in made:
        cells = [
            {"passed": "yes", "failed": "no", "begun": "no"}.get(result["stages"].get(stage, {}).get("state", ""), "")
            for stage in _STAGES
        ]
        fixed = ", ".join(result["stages"].get("exported", {}).get("fixed", ()))
        kept = f"with {fixed} alone" if fixed else ""
        told = kept if result["state"] == "passed" else markdown_text(str(result.get("text", ""))[:160])
        lines.append(f"| {markdown_text(result['class'])} | {' | '.join(cells)} | {told} |")
    return lines
