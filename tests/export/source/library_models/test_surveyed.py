"""What was surveyed is listed, chosen by a word; what the survey writes is what is read."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from attn_export import surveyed_models
from attn_export.cli.app import cli
from attn_export.source.library_models import surveyed
from attn_runtime.errors import UsageError
from click.testing import CliRunner
from support.command_lines.json_answers import result_of

SURVEY = Path(__file__).parents[4] / "scripts" / "model_survey"


def test_a_word_chooses_and_an_unknown_one_is_told_with_the_nearest() -> None:
    whole = surveyed_models()
    assert len(whole["models"]) == whole["tried"] and "transformers" in whole["versions"]
    ran = CliRunner().invoke(cli, ["models", "--hf", "CAUSAL_LM", "--json"])
    told = result_of(ran.output)
    assert told["models"] == [one for one in whole["models"] if "causal_lm" in one["auto_class"].lower()]
    one = told["models"][0]
    table = CliRunner().invoke(cli, ["models", "--hf", one["class"]]).output
    assert one["class"] in table and f"of {whole['tried']} that were tried" in table
    nearly = one["class"].replace("For", "Fro")
    with pytest.raises(UsageError, match=f'^"{nearly}": no surveyed model .*{one["class"]}'):
        surveyed_models(word=nearly)
    with pytest.raises(UsageError, match="add --hf or --timm"):
        CliRunner().invoke(cli, ["models", "llama"], catch_exceptions=False)


def test_what_the_survey_writes_is_what_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SURVEY))
    from packaged import write_packaged  # type: ignore[import-not-found]

    good, bad = {"state": "passed"}, {"state": "failed", "kind": "ParityError", "text": "far"}
    about = {"model_type": "a", "auto_class": "CTC"}
    results: list[dict[str, Any]] = [
        {**about, "class": "AForCTC", "stages": {"made": good, "exported": good}, "last": "exported", **good},
        {**about, "class": "BForCTC", "stages": {"made": good, "exported": bad}, "last": "exported", **bad},
    ]
    write_packaged(tmp_path / "surveyed.json", results)
    monkeypatch.setattr(surveyed, "_FILE", tmp_path / "surveyed.json")
    first, second = surveyed_models()["models"]
    assert first == {**about, "class": "AForCTC", "passed": ["made", "exported"], "failed": None, "cause": None}
    assert (second["passed"], second["failed"]) == (["made"], "exported")
    assert second["cause"] == "answers differ from PyTorch's by more than the tolerance (ours)"
    with pytest.raises(UsageError, match="no model of timm has been surveyed; attn-export to-onnx timm:NAME tries one"):
        surveyed_models("timm")
    for name in ("packaged", "causes"):
        sys.modules.pop(name, None)
