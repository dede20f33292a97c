"""What is surveyed: every class that transformers' auto classes name for the tasks below, and a model of each timm family."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from timm_families import TIMM_FAMILIES
from transformers.models.auto import modeling_auto

#: Auto classes. What writes token by token comes first: a class that does is not asked again.
GENERATORS = (
    "CAUSAL_LM",
    "SEQ_TO_SEQ_CAUSAL_LM",
    "SPEECH_SEQ_2_SEQ",
)
TASKS = (
    "SEQUENCE_CLASSIFICATION",
    "TOKEN_CLASSIFICATION",
    "QUESTION_ANSWERING",
    "MASKED_LM",
    "MULTIPLE_CHOICE",
    "NEXT_SENTENCE_PREDICTION",
    "TEXT_ENCODING",
    "IMAGE_CLASSIFICATION",
    "SEMANTIC_SEGMENTATION",
    "INSTANCE_SEGMENTATION",
    "UNIVERSAL_SEGMENTATION",
    "OBJECT_DETECTION",
    "DEPTH_ESTIMATION",
    "ZERO_SHOT_IMAGE_CLASSIFICATION",
    "ZERO_SHOT_OBJECT_DETECTION",
    "MASKED_IMAGE_MODELING",
    "IMAGE",
    "VIDEO_CLASSIFICATION",
    "KEYPOINT_DETECTION",
    "AUDIO_CLASSIFICATION",
    "CTC",
)
#: The group of the models of timm, which transformers has no auto class for.
TIMM = "TIMM"


@dataclass(frozen=True)
class Row:
    """A class of transformers (`name`), the model type it is of, and the auto class that names it; or "timm:NAME", its family
    and `TIMM`."""

    name: str
    model_type: str
    auto_class: str


def rows() -> Iterator[Row]:
    """Every class once, generators first, in the order of transformers' own lists; then timm."""
    seen: set[str] = set()
    for auto_class in (*GENERATORS, *TASKS):
        for model_type, names in getattr(modeling_auto, f"MODEL_FOR_{auto_class}_MAPPING_NAMES").items():
            name = names[0] if isinstance(names, (list, tuple)) else names
            if name not in seen:
                seen.add(name)
                yield Row(name, model_type, auto_class)
    for family, architecture in TIMM_FAMILIES.items():
        yield Row(f"timm:{architecture}", family, TIMM)
