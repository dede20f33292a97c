"""The inputs of a model that does not generate, and their ranges: read off its forward, its config and its folder."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec, Values
from torch import nn

from .. import SavedModel, configs_of

#: The length that is exported unless --dim says more: long contexts cost their square in every check.
LONGEST = 512
_USUAL_LENGTH = 128
#: What a batch may hold at its longest: tokens, and pixels of a colour. Larger ones are a --dim away.
_TOKENS = 4096
_PIXELS = 8 * 224 * 224
_LARGEST_BATCH = 32
#: Where configs say how many positions there are.
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length")
#: Classes that read two texts as one, by how their names end.
_OF_PAIRS = ("ForQuestionAnswering", "ForNextSentencePrediction", "ForMultipleChoice")
_SOUND = ("input_values", "input_features")
#: Where the word of a token stands on its page: left, top, right, bottom.
BOXES = "bbox"
#: Pages are this wide and high, in whole numbers.
_PAGE = 1000
#: What a model without a vocabulary reads: code points of Unicode.
_CODE_POINTS = 0x110000
_VIDEO = "pixel_values_videos"
_NAMED = ("input_ids", "attention_mask", "token_type_ids", BOXES, "pixel_values", _VIDEO, *_SOUND)
#: Where configs say how wide a frame of a spectrogram is.
_WIDTHS = ("feat_dim", "input_feat_per_channel", "feature_projection_input_dim", "num_mel_bins")
#: Where configs say how many pictures a video has.
_FRAMES = ("num_frames", "frames_per_clip")
_USUAL_FRAMES = 8


def inputs_of(
    model: nn.Module, saved: SavedModel, size: tuple[int, int] | None = None, sound: TensorSpec | None = None
) -> tuple[TensorSpec, ...]:
    """What `model`, of the folder `saved`, is fed, with ranges; masks are boolean.

    Token ids are int64 [batch, length], pictures float32 [batch, channels, height, width] of `size`, sound float32 [batch,
    samples] or spectrograms of a fixed size; `sound` stands for the latter where a front end takes them. Ranges that are
    shorter than the model's are noted. Raises UsageError for a model of other inputs.
    """
    takes = inspect.signature(model.forward).parameters
    texts = "input_ids" in takes
    pictures = next((name for name in ("pixel_values", _VIDEO) if name in takes), None)
    towers = texts and has_towers(model)
    found: list[TensorSpec] = []
    if texts:
        found += _text(model, saved, takes, "texts" if towers else "batch")
    batch = None if towers or not found else found[0].dims[0]
    if pictures:
        found.append(_picture(model, saved, pictures, size, batch))
    main = getattr(model, "main_input_name", "")
    audio = next((name for name in (main, *_SOUND) if name in _SOUND and name in takes), None)
    if audio and not pictures:
        found.append(sound or _sound(model, saved, audio, batch))
    known = {spec.name for spec in found} | ({audio} if audio else set())
    lacking = [
        name
        for name, p in takes.items()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in known
    ]
    if lacking or not found:
        some = ", ".join(lacking or list(takes)[:6])
        raise UsageError(
            f"{saved.ref}: {type(model).__name__} takes {some}, and inputs are known of {', '.join(_NAMED)} alone; wrap it "
            "in a module of your own, and name that: package.module:callable with --input"
        )
    return tuple(found)


def has_towers(model: nn.Module) -> bool:
    """Whether it reads texts and something else apart, each in a batch of its own (CLIP, SigLIP, CLAP)."""
    return hasattr(model, "get_text_features") and (
        hasattr(model, "get_image_features") or hasattr(model, "get_audio_features")
    )


def _text(model: nn.Module, saved: SavedModel, takes: Any, rows: str) -> list[TensorSpec]:
    config: Any = model.config
    longest = _longest(model, saved)
    batch = Dim(rows, 1, 2, max(2, min(_LARGEST_BATCH, _TOKENS // longest)))
    length = Dim("length", 1, min(_USUAL_LENGTH, longest), longest)
    kind = type(model).__name__
    choices = (Dim("choices", 1, 2, 4),) if kind.endswith("ForMultipleChoice") else ()
    axes = (batch, *choices, length)
    specs = [TensorSpec("input_ids", "int64", axes, meaning="tokens", low=0, high=_vocabulary(model))]
    if "attention_mask" in takes:
        specs.append(TensorSpec("attention_mask", "bool", axes, meaning="true at tokens, false at padding"))
    types = getattr(config, "type_vocab_size", 0) or 0
    if "token_type_ids" in takes and types > 1 and _takes_pairs(kind, saved):
        meaning = "0 in the first text, 1 in the second"
        specs.append(TensorSpec("token_type_ids", "int64", axes, meaning=meaning, low=0, high=types))
    if BOXES in takes:
        specs.append(_boxes(config, axes))
    return specs


def _boxes(config: Any, axes: tuple[Dim, ...]) -> TensorSpec:
    """Coordinates as rows of tables, or as shares of the page where the config scales them."""
    meaning = "left, top, right and bottom of the word that a token is of, on a page of"
    four = (*axes, Dim.fixed(4))
    if hasattr(config, "bbox_scale"):
        return TensorSpec(
            BOXES, "float32", four, meaning=f"{meaning} 1 by 1", values=Values("uniform", low=0.0, high=1.0)
        )
    most = min(_PAGE, getattr(config, "max_2d_position_embeddings", _PAGE + 1) - 1)
    return TensorSpec(BOXES, "int64", four, meaning=f"{meaning} {most} by {most}", low=0, high=most + 1)


def _vocabulary(model: Any) -> int:
    """Rows of the table of embeddings. Some models have none to ask for (CLIP's whole); their config says it. What has no
    vocabulary at all reads characters, hashed (CANINE)."""
    try:
        table = model.get_input_embeddings()
    except (NotImplementedError, AttributeError):
        table = None
    if isinstance(table, nn.Embedding):
        return table.num_embeddings
    return int(getattr(model.config.get_text_config(), "vocab_size", _CODE_POINTS))


def _longest(model: nn.Module, saved: SavedModel) -> int:
    """How long a text is taken: the table of positions, the tokenizer's limit, and `LONGEST`."""
    text: Any = model.config.get_text_config()  # type: ignore[union-attr,operator]
    table = next((n for key in _POSITIONS if isinstance(n := getattr(text, key, None), int) and n > 1), None)
    if table is not None:
        table = max(2, table - _positions_below_text(model))
    told = getattr(model, "max_seq_length", None) or saved.read_json("tokenizer_config.json").get("model_max_length")
    limit = int(told) if isinstance(told, (int, float)) and 1 < told < 1e9 else None  # 1e30 stands for none
    most = min((n for n in (table, limit) if n is not None), default=LONGEST)
    if most <= LONGEST:
        return most
    saved.notes.append(
        f"texts are taken up to {LONGEST} tokens of the {most} that the model reads; --dim length=1:{_USUAL_LENGTH}:{most} "
        "takes all"
    )
    return LONGEST


def _positions_below_text(model: nn.Module) -> int:
    """RoBERTa and its kin number positions from behind the padding token on: the first rows are no text's (514 are 512)."""
    return next(
        (
            index + 1
            for name, module in model.named_modules()
            if name.endswith("position_embeddings") and isinstance(index := getattr(module, "padding_idx", None), int)
        ),
        0,
    )


def _takes_pairs(kind: str, saved: SavedModel) -> bool:
    """Whether texts of the second kind occur: by the class, or as the folder's tokenizer marks them."""
    if kind.endswith(_OF_PAIRS):
        return True
    if "token_type_ids" in (saved.read_json("tokenizer_config.json").get("model_input_names") or ()):
        return True
    return kind.endswith("ForSequenceClassification") and _marks_pairs(saved.read_json("tokenizer.json"))


def _marks_pairs(tokenizer: dict[str, Any]) -> bool:
    """Whether the post-processor of a tokenizer.json gives the second text another type than the first."""
    step = tokenizer.get("post_processor") or {}
    steps = step.get("processors", [step]) if isinstance(step, dict) else []
    for one in steps if isinstance(steps, list) else []:
        if not isinstance(one, dict):
            continue
        if one.get("type") == "BertProcessing":
            return True
        pair = one.get("pair") if one.get("type") == "TemplateProcessing" else None
        parts = [p for item in pair or () if isinstance(item, dict) for p in item.values()]
        if any(isinstance(p, dict) and p.get("type_id") == 1 for p in parts):
            return True
    return False


def _picture(model: Any, saved: SavedModel, name: str, size: tuple[int, int] | None, batch: Dim | None) -> TensorSpec:
    """Of a model whose config counts frames, a video [batch, frames, channels, height, width]; else a picture."""
    config = model.config
    parts = [config, *(getattr(config, name, None) for name in ("vision_config", "backbone_config"))]
    parts += [getattr(getattr(config, "vision_config", None), "backbone_config", None)]
    height, width = size or _size(saved.read_json("preprocessor_config.json"), parts)
    channels = next((n for c in parts if isinstance(n := getattr(c, "num_channels", None), int)), 3)
    told = () if "Image" in type(model).__name__ else _FRAMES  # Perceiver's config is that of its videos too
    usual = _USUAL_FRAMES if name == _VIDEO else None
    frames = next((n for c in parts for key in told if isinstance(n := getattr(c, key, None), int)), usual)
    most = max(2, min(_LARGEST_BATCH, _PIXELS // (height * width * (frames or 1))))
    rows = batch or Dim("images" if has_towers(model) else "batch", 1, 2, most)
    axes = tuple(Dim.fixed(n) for n in (channels, height, width))
    if frames is None:
        return TensorSpec(name, "float32", (rows, *axes), meaning="a picture")
    return TensorSpec(name, "float32", (rows, Dim.fixed(frames), *axes), meaning="frames of a video")


def _size(recipe: dict[str, Any], parts: Sequence[Any]) -> tuple[int, int]:
    """Height and width of a picture: what it is cropped to, else resized to, else what the config was made for."""
    told = [recipe.get("crop_size") if recipe.get("do_center_crop") else None, recipe.get("size")]
    told += [getattr(part, key, None) for part in parts for key in ("image_size", "input_size", "crop_size")]
    for one in told:
        if isinstance(one, dict):
            sides = (one.get("height"), one.get("width"))
            side = one.get("shortest_edge")
            one = sides if all(isinstance(n, int) for n in sides) else side
        if isinstance(one, int) and one > 0:
            return one, one
        if isinstance(one, (list, tuple)) and len(one) >= 2 and all(isinstance(n, int) for n in one[:2]):
            return one[0], one[1]
    return 224, 224


def _sound(model: Any, saved: SavedModel, name: str, batch: Dim | None) -> TensorSpec:
    """Where no front end takes the sound: what the model itself reads, samples or frames of a spectrogram."""
    config = model.config
    rows = batch or Dim("batch", 1, 2, 8)
    bins = getattr(config, "num_mel_bins", None)
    if name == "input_values" and bins and getattr(config, "max_length", None):  # AST: frames before bins
        return TensorSpec(
            name, "float32", (rows, Dim.fixed(config.max_length), Dim.fixed(bins)), meaning="a spectrogram"
        )
    if name == "input_values":
        rate = saved.read_json("preprocessor_config.json").get("sampling_rate") or 16000
        samples = Dim("samples", rate // 10, rate // 2, rate * 2)
        return TensorSpec(name, "float32", (rows, samples), meaning=f"sound at {rate} Hz")
    if bins and getattr(config, "max_source_positions", None):  # Whisper: bins before frames
        frames = Dim.fixed(2 * config.max_source_positions)
        return TensorSpec(name, "float32", (rows, Dim.fixed(bins), frames), meaning="a spectrogram")
    wide = next(
        (n for part in configs_of(config) for key in _WIDTHS if isinstance(n := getattr(part, key, None), int)), None
    )
    if wide is None:
        raise UsageError(
            f"{saved.ref}: the size of {name} is not known of {type(model).__name__}; wrap it in a module of your own, and "
            "name that: package.module:callable with --input"
        )
    return TensorSpec(name, "float32", (rows, Dim("frames", 16, 100, 400), Dim.fixed(wide)), meaning="a spectrogram")
