"""The names of a model's classes, and what becomes of their scores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from attn_runtime.errors import UsageError
from attn_runtime.escape import printable

#: Ends of the names of classes whose answers are scores of config.id2label's classes. Not those whose classes are texts that
#: are given with the picture, tokens of a vocabulary, or places in a text.
_OF_CLASSES = re.compile(r"For(?!ZeroShot|Masked)\w*(Classification|ObjectDetection|Segmentation)(WithTeacher)?$")
#: Those whose scores are read as a class each, and not among others (a no-object class, classes of a pixel).
_OF_INPUTS = re.compile(r"Classification(WithTeacher)?$")
_MOST = 253  # characters of a label before it is cut with "...": 256, as manifest.schema.json has it


def label_assets(model: Any, outputs: Iterable[Any], notes: list[str] | None = None) -> dict[str, Any]:
    """labels.json, and classification.json where the scores are not made to add up to 1; {} for a model without classes.

    `outputs` are the graph's, TensorSpecs or names; `notes` gets what is to be told. Raises UsageError where config.id2label
    names other numbers than 0 and so on.
    """
    kind, config = type(model).__name__, getattr(model, "config", None)
    names = [str(getattr(output, "name", output)) for output in outputs]
    given = getattr(config, "id2label", None)
    if not given or not _OF_CLASSES.search(kind) or not any(name.endswith("logits") for name in names):
        return {}
    notes = [] if notes is None else notes
    labels = _labels(given, notes)
    assets: dict[str, Any] = {"labels.json": labels}
    scores = _scores(config, len(labels)) if _OF_INPUTS.search(kind) else "softmax"
    if scores != "softmax":
        assets["classification.json"] = {"scores": scores}
    return assets


def _labels(given: Mapping[Any, Any], notes: list[str]) -> list[str]:
    try:
        named = {int(number): str(label) for number, label in given.items()}
    except (TypeError, ValueError):
        named = {}
    if sorted(named) != list(range(len(given))):
        told = ", ".join(printable(str(number), 20) for number in list(given)[:6])
        raise UsageError(
            f"config.json: id2label names {len(given)} classes by {told}{', ...' if len(given) > 6 else ''}; expected 0 to "
            f"{len(given) - 1}, each once: mend it there"
        )
    labels = []
    for number in range(len(named)):
        label = printable(named[number].strip(), _MOST) or f"LABEL_{number}"
        labels.append(label)
    changed = [n for n, label in enumerate(labels) if label != named[n]]
    if changed:
        notes.append(
            f'{len(changed)} labels can\'t be printed as they are: label {changed[0]} is now "{labels[changed[0]]}"'
        )
    if all(label == f"LABEL_{number}" for number, label in enumerate(labels)):
        notes.append(
            f"the classes have no names: labels.json has LABEL_0 to LABEL_{len(labels) - 1} of config.json; "
            "--assets FOLDER with a labels.json names them"
        )
    return labels


def _scores(config: Any, count: int) -> str:
    """As transformers' pipelines decide it (5.23, `TextClassificationPipeline.postprocess`)."""
    problem = getattr(config, "problem_type", None)
    if problem == "regression":
        return "none"
    return "sigmoid" if problem == "multi_label_classification" or count == 1 else "softmax"
