from __future__ import annotations

import pytest
import torch
from attn_export.huggingface.tasks.outputs import outputs_of, without_random
from attn_runtime.errors import CheckpointError


@pytest.mark.parametrize(
    ("name", "answered", "wanted"),
    [
        ("BertForQuestionAnswering", "loss start_logits end_logits hidden", "start_logits end_logits"),
        ("DetrForObjectDetection", "logits pred_boxes last_hidden_state", "logits pred_boxes"),
        ("DetrForSegmentation", "logits pred_boxes pred_masks encoder", "logits pred_boxes pred_masks"),
        ("Mask2FormerForUniversalSegmentation", "class_queries_logits masks_queries_logits pixel",
         "class_queries_logits masks_queries_logits"),
        ("DPTForDepthEstimation", "predicted_depth other", "predicted_depth"),
        ("BertForPreTraining", "prediction_logits seq_relationship_logits", "prediction_logits seq_relationship_logits"),
        ("AlbertForPreTraining", "prediction_logits sop_logits", "prediction_logits sop_logits"),
        ("CLIPModel", "text_embeds image_embeds logits_per_image logits_per_text",
         "logits_per_image logits_per_text text_embeds image_embeds"),
        ("CLIPTextModelWithProjection", "text_embeds last_hidden_state", "text_embeds"),
        ("BertModel", "pooler_output last_hidden_state", "last_hidden_state pooler_output"),
        ("AnyForSequenceClassification", "loss logits past", "logits"),
        ("Strange", "a b", "a b"),
    ],
)  # fmt: skip
def test_the_outputs_of_a_class(name: str, answered: str, wanted: str) -> None:
    found = {key: torch.zeros(2) for key in answered.split()} | {"hidden_states": (torch.zeros(2),)}
    assert outputs_of(name, found) == tuple(wanted.split())


def test_what_rests_on_random_weights() -> None:
    notes: list[str] = []
    assert without_random(("a", "b"), {"b"}, ("w",), "m", notes) == ("a",)
    assert without_random(("a", "b"), set(), ("w",), "m", notes) == ("a", "b")
    assert notes == [
        "b is left out: the folder has no weights for it (w)",
        "1 weights that no output needs are not in the folder (w)",
    ]
    for outputs, resting in ((("a",), {"a"}), (("logits", "pred_boxes"), {"logits"})):
        with pytest.raises(CheckpointError, match="would be random"):
            without_random(outputs, resting, ("w",), "m", notes)
