"""The assets of a model of sound: audio.json, and, where it writes, tokenizer.json and ctc.json."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attn_runtime.errors import UsageError
from attn_runtime.escape import printable
from attn_runtime.spec import TensorSpec

from .. import SavedModel
from ..assets import as_tokenizer_json, tokenizer_that_writes
from .feature_extractors import audio_recipe, feature_extractor, is_known

#: What is left of a bundle whose answers have no text.
_LEFT = "the graph is exported, attn-run transcribe won't take it"


def audio_assets(saved: SavedModel, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """File name -> value, of a model whose graph takes a recording; {} of another.

    audio.json says how a recording becomes the input, the only one, float32 [batch, samples]. Of a model with a CTC head,
    ctc.json and tokenizer.json say how its scores become a text; of one that writes token by token, tokenizer.json does. A
    tokenizer that has no such form, which is tried on drawn answers, is left out with a note. Raises UsageError where the
    model's class and its outputs disagree.
    """
    heard = [spec for spec in inputs if spec.dtype == "float32" and len(spec.dims) == 2]
    extractor = feature_extractor(saved) if len(inputs) == len(heard) == 1 else None
    if extractor is None or not is_known(extractor):
        return {}
    assets: dict[str, Any] = {"audio.json": audio_recipe(extractor.sampling_rate, heard[0].name)}
    kind = _writes(saved)
    if kind is None:
        return assets
    own = tokenizer_that_writes(saved, _LEFT)
    if own is None:
        return assets
    ctc = _ctc(saved, own, extractor, outputs) if kind == "ctc" else {}
    tokenizer = as_tokenizer_json(saved, own, _LEFT, ctc)
    return assets | tokenizer | ({"ctc.json": ctc} if tokenizer and ctc else {})


def _writes(saved: SavedModel) -> str | None:
    """ "ctc", "tokens" (an encoder-decoder), or None for a model that does not write."""
    from transformers.models.auto import modeling_auto as known

    names = set(getattr(saved.config, "architectures", None) or ())
    if names & set(known.MODEL_FOR_CTC_MAPPING_NAMES.values()):
        return "ctc"
    return "tokens" if names & set(known.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES.values()) else None


def _ctc(saved: SavedModel, own: Any, extractor: Any, outputs: Sequence[TensorSpec]) -> dict[str, Any]:
    if "logits" not in [spec.name for spec in outputs]:
        raise UsageError(f"a CTC head answers logits, found the outputs {', '.join(o.name for o in outputs)}")
    # In samples; of an encoder that takes frames in those, which lie a hop apart.
    of_encoder = getattr(getattr(saved.config, "encoder_config", None), "subsampling_factor", None)
    frame = getattr(saved.config, "inputs_to_logits_ratio", of_encoder)
    if not isinstance(frame, int) or own.pad_token_id is None:
        missing = (
            "pad_token, which is the blank" if own.pad_token_id is None else "inputs_to_logits_ratio, a frame's samples"
        )
        raise UsageError(f"{printable(saved.folder.name)}: its CTC head can't be read: there is no {missing}")
    columns = getattr(saved.config, "vocab_size", None)
    if columns is not None and columns != len(own):
        saved.notes.append(
            f"the model answers {columns} tokens, its tokenizer knows {len(own)}; unknown ones are not written"
        )
    found: dict[str, Any] = {
        "output": "logits",
        "blank": int(own.pad_token_id),
        "frame": frame * getattr(extractor, "hop_length", 1),
    }
    if delimiter := getattr(own, "word_delimiter_token", None):
        found["word_delimiter"] = str(delimiter)
    return found | ({"lowercase": True} if getattr(own, "do_lower_case", False) else {})
