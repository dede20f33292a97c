"""Hypothesis strategies: manifests that are valid but for a few mutations, and any JSON values."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from support.graphs.make_hostile_bundles import valid_manifest


def whole_manifest() -> dict[str, Any]:
    """A valid manifest that lists files, with every optional key in it; no files lie behind it."""
    files = {}
    manifest = {"schema_version": 1} | valid_manifest() | {"files": files}
    for text in re.findall(r'"([\w./-]+\.(?:onnx|data|safetensors|json))"', json.dumps(manifest)):
        files[text] = {"sha256": "0" * 64, "size": 1}
    tensor = manifest["graphs"]["model"]["inputs"][0]
    tensor.update(low=-5, high=2**40, values={"kind": "normal", "mean": 0.5, "std": 1, "low": -1.5, "high": 2**40})
    kept = {"node": "norm", "operator": "Pow", "module": "encoder.norm", "reason": "overflow"}
    manifest["graphs"]["model"]["precisions"]["half"]["quantised"] = {
        "weights": "int4", "activations": "static", "rounding": "gptq", "block": 32, "quantised": 3, "left": [kept],
        "calibration": {"method": "min-max", "source": "the golden inputs", "samples": 7, "ranges": {"x": [-1.5, 2.0]}},
    }  # fmt: skip
    return manifest


def _places(node: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield at
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _places(value, (*at, key))


_WHOLE = whole_manifest()
_PLACES = sorted(_places(_WHOLE), key=str)
_NUMBERS = [0, 1, -1, 1.0, 1.5, -0.0, 2**31 - 1, 2**31, 2**53 - 1, 2**53, 2**63 - 1, -(2**63), 17, 1e300]
_STRINGS = ["", "a", "../a", "a/b", "/a", "a\\b", "a\0", "a\x7f", "é", "a" * 128, "a" * 129, "a" * 257, "0" * 64]
_STRINGS += ["A" * 64, "float32", "bilinear", "dynamo", "2026-01-31T12:00:00Z", "\U0001f600" * 256, ".a", "a.", "a//b"]
scalars = st.sampled_from([None, True, False, *_NUMBERS, *_STRINGS]) | st.integers() | st.floats(allow_nan=False)
# Python's regexes, and so the package's, let a last newline pass that JSON Schema's own don't: test_bundle_schema has that case.
texts = st.text(max_size=20).filter(lambda text: not text.endswith("\n"))
values = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid manifest with one to three of its places replaced, removed, renamed, added to or repeated."""
    manifest = copy.deepcopy(_WHOLE)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(_PLACES))
        inner: Any = manifest
        try:
            for step in place[:-1]:
                inner = inner[step]
            target = inner[place[-1]] if place else manifest
        except (KeyError, IndexError, TypeError):
            continue  # an earlier mutation took it away
        how = draw(st.sampled_from(["replace", "remove", "rename", "add", "repeat"]))
        if how == "replace" or not place:
            if not place:
                return draw(values)
            inner[place[-1]] = draw(values)
        elif how == "remove":
            del inner[place[-1]]
        elif how == "rename" and isinstance(inner, dict):
            inner[draw(texts | st.sampled_from(_STRINGS))] = inner.pop(place[-1])  # type: ignore[arg-type]
        elif how == "add" and isinstance(target, dict):
            target[draw(texts | st.sampled_from(_STRINGS))] = draw(values)
        elif how == "repeat" and isinstance(target, list) and target:
            target.extend(copy.deepcopy(target[:1]) * draw(st.sampled_from([1, 20, 300])))
    return manifest
