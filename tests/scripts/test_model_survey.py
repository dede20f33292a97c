"""Forty classes of transformers go through the survey again: what the list of surveyed models says of them holds."""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

import pytest
from attn_export import surveyed_models

pytest.importorskip("transformers")

SCRIPTS = Path(__file__).parents[2] / "scripts"
STAGES = ("made", "exported", "tokens")
SAMPLE = random.Random(40).sample(surveyed_models()["models"], 40)


@pytest.mark.parametrize("listed", SAMPLE, ids=lambda listed: listed["class"])
def test_a_class_gets_as_far_as_listed(listed: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.syspath_prepend(str(SCRIPTS / "model_survey"))
    from survey_models import survey

    told = survey(listed["class"], tmp_path, STAGES, 600)["stages"]
    passed = [stage for stage, found in told.items() if found["state"] == "passed"]
    assert passed == [stage for stage in listed["passed"] if stage in STAGES], told
    sys.modules.pop("packaged", None)
