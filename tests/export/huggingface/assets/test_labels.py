"""Names of classes, and what their scores become."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from attn_export.huggingface.assets import label_assets
from attn_runtime.bundle import check_asset
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec


def model(kind: str, labels: dict[Any, Any] | None, **config: Any) -> Any:
    made = type(kind, (), {})()
    made.config = SimpleNamespace(id2label=labels, **config)
    return made


TWO = {0: "no", 1: "yes"}


@pytest.mark.parametrize(
    "kind",
    ["BertForSequenceClassification", "ViTForImageClassification", "DeiTForImageClassificationWithTeacher",
     "BertForTokenClassification", "DetrForObjectDetection", "SegformerForSemanticSegmentation", "XForAudioFrameClassification"],
)  # fmt: skip
def test_classes_have_their_names(kind: str) -> None:
    assert label_assets(model(kind, TWO), ["logits"]) == {"labels.json": ["no", "yes"]}


@pytest.mark.parametrize(
    "kind", ["BertForMaskedLM", "GPT2LMHeadModel", "BertForMultipleChoice", "Wav2Vec2ForCTC", "OwlViTForZeroShotObjectDetection",
             "BertForNextSentencePrediction", "BertModel"]
)  # fmt: skip
def test_what_names_no_classes_has_no_labels(kind: str) -> None:
    assert label_assets(model(kind, TWO), ["logits"]) == {}


def test_outputs_may_be_specs_and_must_be_scores() -> None:
    spec = TensorSpec("class_queries_logits", "float32", (Dim("batch", 1, 2, 4),))
    assert label_assets(model("XForUniversalSegmentation", TWO), [spec]) == {"labels.json": ["no", "yes"]}
    assert label_assets(model("BertForSequenceClassification", TWO), ["last_hidden_state"]) == {}
    assert label_assets(model("BertForSequenceClassification", None), ["logits"]) == {}


@pytest.mark.parametrize(
    ("labels", "config", "scores"),
    [(TWO, {"problem_type": "multi_label_classification"}, "sigmoid"), ({0: "score"}, {}, "sigmoid"),
     ({0: "score"}, {"problem_type": "regression"}, "none"), (TWO, {"problem_type": "single_label_classification"}, "softmax")],
)  # fmt: skip
def test_scores_are_what_pipelines_make_of_them(labels: Any, config: Any, scores: str) -> None:
    found = label_assets(model("BertForSequenceClassification", labels, **config), ["logits"])
    assert found.get("classification.json", {"scores": "softmax"}) == {"scores": scores}
    check_asset("classification", {"scores": scores}, "x")


def test_order_is_by_number_and_every_number_is_there() -> None:
    assert label_assets(model("XForImageClassification", {"1": "b", 0: "a"}), ["logits"])["labels.json"] == ["a", "b"]
    for labels in ({0: "a", 2: "b"}, {1: "a", 2: "b"}, {"x": "a"}):
        with pytest.raises(UsageError, match=r"id2label names \d classes by .*; expected 0 to \d, each once"):
            label_assets(model("XForImageClassification", labels), ["logits"])


def test_names_that_are_none_or_can_not_be_printed_are_told() -> None:
    notes: list[str] = []
    kept = label_assets(model("XForImageClassification", {0: "LABEL_0", 1: "LABEL_1"}), ["logits"], notes)
    assert kept["labels.json"] == ["LABEL_0", "LABEL_1"] and "the classes have no names" in notes[0]
    odd = label_assets(model("XForImageClassification", {0: "a\x1b[1m", 1: "", 2: "x" * 999}), ["logits"], notes)
    assert odd["labels.json"][:2] == ["a\ufffd[1m", "LABEL_1"] and "3 labels can't be printed" in notes[1]
    check_asset("labels", odd["labels.json"], "x")
