from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import transformers
from attn_export.huggingface import TASKS, Kind, SavedModel, kind_of
from attn_runtime.errors import UsageError

_SEES = transformers.VisionEncoderDecoderConfig(
    encoder=transformers.ViTConfig().to_dict(), decoder=transformers.GPT2Config().to_dict()
)


def saved(config: Any, *architectures: str) -> SavedModel:
    config.architectures = list(architectures) or None
    return SavedModel(Path("folder"), None, None, config)


@pytest.mark.parametrize(
    ("config", "name", "task", "writes"),
    [
        (transformers.BertConfig(), "BertForSequenceClassification", "text-classification", False),
        (transformers.BertConfig(), "BertModel", "feature-extraction", False),
        (transformers.BertConfig(), "BertForPreTraining", "feature-extraction", False),
        (transformers.GPT2Config(), "GPT2LMHeadModel", "text-generation", True),
        (transformers.BartConfig(), "BartForConditionalGeneration", "text2text-generation", True),
        (transformers.BartConfig(), "BartForSequenceClassification", "text-classification", False),
        (transformers.Wav2Vec2Config(), "Wav2Vec2ForCTC", "automatic-speech-recognition", False),
        (transformers.WhisperConfig(), "WhisperForConditionalGeneration", "automatic-speech-recognition", True),
        (transformers.CLIPConfig(), "CLIPModel", "zero-shot-image-classification", False),
        (transformers.DetrConfig(), "DetrForObjectDetection", "object-detection", False),
        (transformers.MaskFormerConfig(), "MaskFormerForInstanceSegmentation", "image-segmentation", False),
        (_SEES,
         "VisionEncoderDecoderModel", "image-to-text", True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_the_class_that_config_json_names(config: Any, name: str, task: str, writes: bool) -> None:
    kind = kind_of(saved(config, name))
    assert (kind.architecture.__name__, kind.task, kind.generates) == (name, task, writes)


def test_a_task_chooses_the_class_of_the_model_type() -> None:
    folder = saved(transformers.BertConfig(), "BertForMaskedLM")
    assert kind_of(folder, "fill-mask") == Kind(transformers.BertForMaskedLM, "fill-mask", False)
    assert kind_of(folder, "feature-extraction").architecture is transformers.BertModel
    assert kind_of(folder, "token-classification").architecture is transformers.BertForTokenClassification
    assert not kind_of(saved(transformers.BartConfig()), "fill-mask").generates
    assert kind_of(saved(transformers.BartConfig()), "translation") == Kind(
        transformers.BartForConditionalGeneration, "translation", True
    )


@pytest.mark.parametrize(
    ("config", "names", "task", "says"),
    [
        (
            transformers.BertConfig(),
            [],
            None,
            "config.json names no class (architectures); add --task, one of text-class",
        ),
        (
            transformers.BertConfig(),
            ["BertForSequenceClasification"],
            None,
            "did you mean BertForSequenceClassification?",
        ),
        (transformers.BertConfig(), ["pipeline"], None, 'names the class "pipeline", which transformers'),
        (transformers.BertConfig(), ["GPT2LMHeadModel"], None, "which takes a GPT2Config"),
        (transformers.BertConfig(), ["BertModel"], "text-clasification", "did you mean text-classification?"),
        (
            transformers.BertConfig(),
            ["BertModel"],
            "object-detection",
            "has no bert for it; available: text-classification",
        ),
    ],
)
def test_what_no_class_fits(config: Any, names: list[str], task: str | None, says: str) -> None:
    with pytest.raises(UsageError) as told:
        kind_of(saved(config, *names), task)
    assert says in str(told.value) and "\n" not in str(told.value)


def test_every_task_is_one_that_transformers_knows() -> None:
    for autos in TASKS.values():
        for auto in autos:
            assert hasattr(transformers, auto), auto
