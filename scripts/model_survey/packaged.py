"""What `attn-export models --hf` lists, from the results of scripts/survey_models.py."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attn_runtime.files.atomic_write import write_file
from causes import cause_of

_LIBRARIES = ("transformers", "torch", "onnxruntime", "tensorrt-rtx-cu13")


def write_packaged(target: Path, results: Sequence[Mapping[str, Any]]) -> None:
    """Write the file: a line for each model, with what surveyed_models of attn_export reads from it."""
    rows: dict[str, list[str]] = defaultdict(list)
    for result in results:
        passed = [stage for stage, told in result["stages"].items() if told["state"] == "passed"]
        failed = None if result["state"] == "passed" else result["last"]
        row = [result["class"], result["model_type"], result["auto_class"], ",".join(passed), failed]
        library = "timm" if result["class"].startswith("timm:") else "transformers"
        rows[library].append(json.dumps([*row, None if failed is None else _cause(result)]))
    versions = json.dumps({name: version(name) for name in _LIBRARIES})
    models = ",\n".join(f'"{library}": [\n{chr(10).join(_commas(lines))}\n]' for library, lines in rows.items())
    write_file(target, f'{{"versions": {versions},\n"models": {{\n{models}\n}}}}\n'.encode())


def _commas(lines: Sequence[str]) -> list[str]:
    return [*(f"{line}," for line in lines[:-1]), lines[-1]]


def _cause(result: Mapping[str, Any]) -> str:
    cause = cause_of(result)
    return f"{cause.text} ({cause.whose})"
