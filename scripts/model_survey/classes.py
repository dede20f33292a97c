"""Which models are surveyed: every class that transformers' auto classes name for the tasks below, once each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from transformers.models.auto import modeling_auto

#: auto class -> the task it is surveyed for. What writes token by token comes first: a class that does is not asked again.
GENERATORS = {
    "CAUSAL_LM": "text-generation",
    "SEQ_TO_SEQ_CAUSAL_LM": "text2text-generation",
    "SPEECH_SEQ_2_SEQ": "automatic-speech-recognition",
}
TASKS = {
    "SEQUENCE_CLASSIFICATION": "text-classification",
    "TOKEN_CLASSIFICATION": "token-classification",
    "QUESTION_ANSWERING": "question-answering",
    "MASKED_LM": "fill-mask",
    "MULTIPLE_CHOICE": "multiple-choice",
    "NEXT_SENTENCE_PREDICTION": "next-sentence-prediction",
    "TEXT_ENCODING": "feature-extraction",
    "IMAGE_CLASSIFICATION": "image-classification",
    "SEMANTIC_SEGMENTATION": "image-segmentation",
    "INSTANCE_SEGMENTATION": "image-segmentation",
    "UNIVERSAL_SEGMENTATION": "image-segmentation",
    "OBJECT_DETECTION": "object-detection",
    "DEPTH_ESTIMATION": "depth-estimation",
    "ZERO_SHOT_IMAGE_CLASSIFICATION": "zero-shot-image-classification",
    "ZERO_SHOT_OBJECT_DETECTION": "zero-shot-object-detection",
    "MASKED_IMAGE_MODELING": "masked-image-modeling",
    "IMAGE": "image-feature-extraction",
    "VIDEO_CLASSIFICATION": "video-classification",
    "KEYPOINT_DETECTION": "keypoint-detection",
    "AUDIO_CLASSIFICATION": "audio-classification",
    "CTC": "automatic-speech-recognition",
}


@dataclass(frozen=True)
class Row:
    """A class of transformers (`name`), the model type it is of, and the auto class that names it."""

    name: str
    model_type: str
    auto_class: str

    @property
    def generates(self) -> bool:
        return self.auto_class in GENERATORS


def rows() -> Iterator[Row]:
    """Every class once, generators first, in the order of transformers' own lists."""
    seen: set[str] = set()
    for auto_class in (*GENERATORS, *TASKS):
        for model_type, names in getattr(modeling_auto, f"MODEL_FOR_{auto_class}_MAPPING_NAMES").items():
            name = names[0] if isinstance(names, (list, tuple)) else names
            if name not in seen:
                seen.add(name)
                yield Row(name, model_type, auto_class)
