"""Forty classes of transformers go through the survey again: what the list of surveyed models says of them holds.

One in sixteen is exported again, one in eight with ATTN_TEST_ALL=1. The others are made, and asked: for their inputs and
answers, and a generator for its tokens through a cache, which is where the most is found out.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from attn_export import surveyed_models

pytest.importorskip("transformers")

SCRIPTS = Path(__file__).parents[2] / "scripts"
#: The same classes as long as they are listed, whatever is listed beside them.
SAMPLE = sorted(surveyed_models()["models"], key=lambda listed: sha256(listed["class"].encode()).digest())[:40]
EXPORTED = SAMPLE[:: 8 if os.environ.get("ATTN_TEST_ALL") else 16]


@pytest.mark.parametrize("listed", SAMPLE, ids=lambda listed: listed["class"])
def test_a_class_gets_as_far_as_listed(listed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (SCRIPTS, SCRIPTS / "model_survey"):
        monkeypatch.syspath_prepend(str(folder))
    from survey_models import survey

    stages = ["made", "asked", *(["exported", "tokens"] if listed in EXPORTED else [])]
    told = survey(listed["class"], tmp_path, stages, 600)["stages"]
    passed = [stage for stage, found in told.items() if found["state"] == "passed"]
    assert passed == [stage for stage in stages if stage in listed["passed"]], told
