"""Which of a model's answers are wanted: those of its task, no inner states, none that rests on weights that are missing."""

from __future__ import annotations

from collections.abc import Mapping

from attn_runtime.errors import CheckpointError
from attn_runtime.escape import printable
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor

#: The end of a class's name -> what it is asked for; the first that fits.
_BY_CLASS: dict[str, tuple[str, ...]] = {
    "ForQuestionAnswering": ("start_logits", "end_logits"),
    "ForZeroShotObjectDetection": ("logits", "pred_boxes"),
    "ForObjectDetection": ("logits", "pred_boxes"),
    "ForUniversalSegmentation": ("class_queries_logits", "masks_queries_logits"),
    "ForInstanceSegmentation": ("class_queries_logits", "masks_queries_logits"),
    "ForSegmentation": ("logits", "pred_boxes", "pred_masks"),
    "ForDepthEstimation": ("predicted_depth",),
    "ForMaskedImageModeling": ("reconstruction",),
    "ForPreTraining": ("prediction_logits", "seq_relationship_logits", "sop_logits", "logits"),
}
#: Of models that compare two kinds of things.
COMPARED = (
    "logits_per_image",
    "logits_per_audio",
    "logits_per_text",
    "text_embeds",
    "image_embeds",
    "audio_embeds",
)
_OF_BODIES = ("embeddings", "last_hidden_state", "pooler_output")
_MEANINGS = {
    "start_logits": "score of each token as the first of the answer",
    "end_logits": "score of each token as the last of the answer",
    "pred_boxes": "centre x, centre y, width, height of each box, as shares of the picture",
    "predicted_depth": "depth of each pixel",
    "embeddings": "one vector for each text",
    "last_hidden_state": "one vector for each token or patch",
    "pooler_output": "one vector for each text or picture",
    "logits_per_image": "score of each text for each picture",
    "logits_per_text": "score of each picture for each text",
}


def outputs_of(name: str, answered: Mapping[str, object]) -> tuple[str, ...]:
    """What of the answers of a class called `name` is exported. Losses, caches and inner states never are."""
    tensors = [key for key, value in answered.items() if isinstance(value, Tensor) and value.ndim and key != "loss"]
    for end, wanted in _BY_CLASS.items():
        if name.endswith(end) and any(key in tensors for key in wanted):
            return tuple(key for key in wanted if key in tensors)
    if any(key in tensors for key in COMPARED[:3]):
        return tuple(key for key in COMPARED if key in tensors)
    if "logits" in tensors:
        return ("logits",)
    embeds = tuple(key for key in COMPARED[3:] if key in tensors)  # one tower with its projection
    return embeds or tuple(key for key in _OF_BODIES if key in tensors) or tuple(tensors)


def without_random(
    outputs: tuple[str, ...], resting: set[str], missing: tuple[str, ...], name: str, notes: list[str]
) -> tuple[str, ...]:
    """`outputs` less those of `resting`, which weights that the folder has not answer for; what is left out is noted.

    Raises CheckpointError where nothing is left: such a model would answer at random.
    """
    few = printable(", ".join(missing[:3])) + (", ..." if len(missing) > 3 else "")
    left = tuple(key for key in outputs if key not in resting)
    if resting and (not left or any("logits" in key for key in resting)):
        raise CheckpointError(
            f"{name} needs {len(missing)} weights that the folder has not ({few}), and {' and '.join(sorted(resting))} would "
            "be random; train it first, or take another class of it with --task, as in --task feature-extraction"
        )
    if resting:
        dropped = " and ".join(key for key in outputs if key in resting)
        notes.append(f"{dropped} is left out: the folder has no weights for it ({few})")
    elif missing:
        notes.append(f"{len(missing)} weights that no output needs are not in the folder ({few})")
    return left


def output_specs(names: tuple[str, ...]) -> tuple[TensorSpec, ...]:
    """Declarations of outputs: names and meanings alone, their dims are found at export."""
    return tuple(
        TensorSpec(name, "float32", (Dim("batch", 1, 2, 2),), meaning=_MEANINGS.get(name, "")) for name in names
    )
