"""Why a model failed, and whose it is: by what was said. The first entry whose expression is found in the text.

Whose: "ours" (this project could do it), "exporter" (torch.export or its translation), "TensorRT", "model" (its code or its
answers admit no such export), "survey" (no small model of it can be made here).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attn_export.precision.schemes import get


@dataclass(frozen=True)
class Cause:
    whose: str
    text: str


_STATE = Cause("ours", "keeps a recurrent or convolutional state, which the contract of a generator does not have yet")
_OTHER = Cause("model", "writes no token after another from keys and values that it keeps")
_KNOWN: tuple[tuple[str, str, Cause], ...] = (
    ("made", r"requires the (\w+) library", Cause("survey", "needs a library that is not installed")),
    ("made", r"", Cause("survey", "no small model of it was made")),
    ("", r"keeps a state", _STATE),
    ("", r"keeps no keys and values|sees tokens behind|codes at once|no head over a vocabulary", _OTHER),
    ("", r"through a cache answers otherwise|a step through the cache", Cause("ours", "no way of calling it answers rightly")),
    ("", r"nothing is known of its inputs", Cause("ours", "its inputs are not derived")),
    ("", r"branches on data", Cause("model", "its code branches on data")),
    ("", r"was asked to be|does not take all of these sizes", Cause("exporter", "a size is fixed or cut in the capture")),
    ("", r"can't capture|CaptureError", Cause("exporter", "torch.export does not take its code")),
    ("", r"TimeLimit|over \d+ s in all", Cause("survey", "took longer than the limit")),
    ("", r"process ended with", Cause("exporter", "the process crashed")),
)  # fmt: skip


def cause_of(result: Mapping[str, Any]) -> Cause:
    """Of a result that did not pass."""
    text = f"{result.get('kind', '')}: {result.get('text', '')}"
    for stage, pattern, cause in _KNOWN:
        if (not stage or stage == result["last"]) and re.search(pattern, text):
            return cause
    kind = result.get("kind", "")
    if result["last"] == "fp16" and result["stages"]["fp16"].get("half", 0.0) > get("fp16").default_rtol:
        return Cause(
            "survey", "PyTorch's own answers in half precision are off by more than the limit, too: drawn weights"
        )
    if kind == "ParityError":
        return Cause("ours", "answers differ from PyTorch's by more than the tolerance")
    if kind in ("EngineError", "StageError") and result["last"] == "rtx":
        return Cause("TensorRT", "no engine was built")
    if kind in ("UsageError", "CheckpointError", "BundleError"):
        return Cause("ours", "refused with a reason")
    return Cause("ours", f"{kind or 'an error'} that is not told as one")
