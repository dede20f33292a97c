"""Which class of transformers a saved model is loaded as, and what it is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attn_runtime.errors import UsageError, did_you_mean
from attn_runtime.escape import printable
from attn_runtime.files import shown

from .library import transformers
from .saved_model import SavedModel

_AUTO = "AutoModel"
#: Pipeline tag -> the classes of transformers that choose a model for it, the likeliest first. Heads come before bodies:
#: the first tag that lists a class is what it is for.
TASKS: dict[str, tuple[str, ...]] = {
    "text-classification": ("AutoModelForSequenceClassification",),
    "token-classification": ("AutoModelForTokenClassification",),
    "question-answering": ("AutoModelForQuestionAnswering",),
    "multiple-choice": ("AutoModelForMultipleChoice",),
    "next-sentence-prediction": ("AutoModelForNextSentencePrediction",),
    "fill-mask": ("AutoModelForMaskedLM",),
    "image-classification": ("AutoModelForImageClassification",),
    "image-segmentation": (
        "AutoModelForSemanticSegmentation",
        "AutoModelForUniversalSegmentation",
        "AutoModelForInstanceSegmentation",
        "AutoModelForImageSegmentation",
    ),
    "object-detection": ("AutoModelForObjectDetection",),
    "depth-estimation": ("AutoModelForDepthEstimation",),
    "zero-shot-object-detection": ("AutoModelForZeroShotObjectDetection",),
    "zero-shot-image-classification": ("AutoModelForZeroShotImageClassification",),
    "video-classification": ("AutoModelForVideoClassification",),
    "audio-classification": ("AutoModelForAudioClassification",),
    "automatic-speech-recognition": ("AutoModelForCTC", "AutoModelForSpeechSeq2Seq"),
    "text2text-generation": ("AutoModelForSeq2SeqLM",),
    "image-to-text": ("AutoModelForImageTextToText",),
    "text-generation": ("AutoModelForCausalLM",),
    "feature-extraction": (_AUTO, "AutoModelForTextEncoding"),
}
#: Those that are answered token by token, by a class that can.
_WRITTEN = ("text2text-generation", "text-generation", "image-to-text", "automatic-speech-recognition")
#: Other words for the same.
_ALIASES = {
    "translation": "text2text-generation",
    "summarization": "text2text-generation",
    "zero-shot-classification": "text-classification",
    "image-feature-extraction": "feature-extraction",
    "sentence-similarity": "feature-extraction",
}


@dataclass(frozen=True)
class Kind:
    """The class of transformers, its task as a pipeline tag, and whether it writes token by token."""

    architecture: type[Any]
    task: str
    generates: bool


def kind_of(saved: SavedModel, task: str | None = None) -> Kind:
    """What `saved` is: the class that config.json names, or that of its model type for `task`, a pipeline tag.

    Raises UsageError for a class that transformers has not, and for a task that its model type has no class for.
    """
    library = transformers()
    named = _named(saved, library, needed=task is None)
    if task is None:
        assert named is not None
        return _kind(named, library, saved.config)
    tag = tag_of(task)
    if tag not in TASKS:
        available = ", ".join([*TASKS, *_ALIASES])
        raise UsageError(f"--task {task}: {did_you_mean(task, [*TASKS, *_ALIASES])}available: {available}")
    chosen = [one for auto in TASKS[tag] for one in _classes(library, auto, saved.config)]
    if named in chosen:
        chosen = [named]
    if not chosen:
        others = [other for other in TASKS if any(_classes(library, a, saved.config) for a in TASKS[other])]
        raise UsageError(
            f"--task {task}: transformers has no {saved.config.model_type} for it; available: {', '.join(others) or 'none'}"
        )
    return Kind(chosen[0], task, tag in _WRITTEN and _can_write(chosen[0], library, saved.config))


def tag_of(task: str) -> str:
    """The pipeline tag of `TASKS` that `task` is another word for; `task` itself where it is none."""
    return _ALIASES.get(task, task)


def body_of(saved: SavedModel) -> type[Any]:
    """The class without a head; of an encoder-decoder its encoder alone, where there is such a class.

    Raises UsageError where transformers has none.
    """
    library = transformers()
    order = ("AutoModelForTextEncoding", _AUTO) if getattr(saved.config, "is_encoder_decoder", False) else (_AUTO,)
    for auto in order:
        for one in _classes(library, auto, saved.config):
            return one
    raise UsageError(f"{saved.ref}: transformers has no {saved.config.model_type} without a head; give --task")


def _named(saved: SavedModel, library: Any, *, needed: bool) -> type[Any] | None:
    """The class that config.json names; None where it names none, and it is not needed."""
    names = getattr(saved.config, "architectures", None) or []
    name = names[0] if names and isinstance(names[0], str) else None
    if name is None:
        if needed:
            raise UsageError(
                f"{saved.ref}: config.json names no class (architectures); add --task, one of {', '.join(TASKS)}"
            )
        return None
    # A lazy module imports what it is asked for by name: only its own names are asked for, and only models are taken.
    found = getattr(library, name, None) if name in dir(library) else None
    if not (isinstance(found, type) and issubclass(found, library.PreTrainedModel)):
        if not needed:
            return None
        models = [n for n in dir(library) if n[:1].isupper() and ("Model" in n or "For" in n)]
        raise UsageError(
            f"{saved.ref}: config.json names the class {shown(name)}, which transformers {library.__version__} has not; "
            f"{did_you_mean(name, models)}Update transformers, or add --task to take another class of its model type"
        )
    wanted = getattr(found, "config_class", None)
    if isinstance(wanted, type) and not isinstance(saved.config, wanted):
        if not needed:
            return None
        raise UsageError(
            f"{saved.ref}: config.json is of model_type {printable(saved.config.model_type)}, and names the class {name}, "
            f"which takes a {wanted.__name__}; correct one of them"
        )
    return found


def _classes(library: Any, auto: str, config: Any) -> list[type[Any]]:
    """The classes that `auto` has for the model type of `config`; none where a class of them is not installed."""
    try:
        found = getattr(library, auto)._model_mapping[type(config)]
    except (KeyError, ValueError, AttributeError):
        return []
    return list(found) if isinstance(found, tuple) else [found]


def _kind(architecture: type[Any], library: Any, config: Any) -> Kind:
    writes = _can_write(architecture, library, config)
    # BART fills masks too, and is an encoder-decoder first.
    order = dict.fromkeys([*(_WRITTEN if writes else ()), *TASKS])
    tag = next((t for t in order if any(architecture in _classes(library, a, config) for a in TASKS[t])), None)
    if tag is None:
        tag = _written(architecture, config) if writes else "feature-extraction"
    return Kind(architecture, tag, writes and tag in _WRITTEN)


def _can_write(architecture: Any, library: Any, config: Any) -> bool:
    return bool(architecture.can_generate()) and architecture not in _classes(library, "AutoModelForCTC", config)


def _written(architecture: Any, config: Any) -> str:
    """The task of a generator that no list of transformers has: by what it reads."""
    main = getattr(architecture, "main_input_name", "input_ids")
    if main == "pixel_values":
        return "image-to-text"
    if main in ("input_values", "input_features"):
        return "automatic-speech-recognition"
    return "text2text-generation" if getattr(config, "is_encoder_decoder", False) else "text-generation"
