"""The assets of a model of sound: audio.json, and, where it writes, tokenizer.json and ctc.json."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from attn_runtime.errors import AttnError, UsageError
from attn_runtime.escape import printable
from attn_runtime.preprocess import CtcText, TokenText
from attn_runtime.spec import TensorSpec

from ...quiet import captured_output
from .. import SavedModel, words_of
from .feature_extractors import audio_recipe, feature_extractor, is_known

#: Answers of drawn tokens, on which a converted tokenizer is held against the folder's own, and how long each is.
_ANSWERS, _LENGTH = 64, 40


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
    own = _tokenizer(saved)
    if own is None:
        return assets
    ctc = _ctc(saved, own, extractor, outputs) if kind == "ctc" else {}
    tokenizer = _converted(own, ctc)
    if tokenizer is None:
        saved.notes.append(
            f"tokenizer {type(own).__name__}: has no form as tokenizer.json that writes what it writes: the graph is exported, "
            "attn-run transcribe won't take it"
        )
        return assets
    return assets | {"tokenizer.json": tokenizer} | ({"ctc.json": ctc} if ctc else {})


def _writes(saved: SavedModel) -> str | None:
    """ "ctc", "tokens" (an encoder-decoder), or None for a model that does not write."""
    from transformers.models.auto import modeling_auto as known

    names = set(getattr(saved.config, "architectures", None) or ())
    if names & set(known.MODEL_FOR_CTC_MAPPING_NAMES.values()):
        return "ctc"
    return "tokens" if names & set(known.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES.values()) else None


def _tokenizer(saved: SavedModel) -> Any | None:
    """The folder's own; None, with a note, where it has none or none that can be read here."""
    from transformers import AutoTokenizer

    try:
        with captured_output():
            # Without the config, transformers reads it again, and asks the network about its name.
            own = AutoTokenizer.from_pretrained(
                saved.folder, config=saved.config, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # whatever a file that is not ours makes transformers raise
        saved.notes.append(
            f"no tokenizer ({words_of(error, 120)}): the graph is exported, attn-run transcribe won't take it"
        )
        return None
    said = _said_delimiter(saved)
    if said is not None and said != getattr(own, "word_delimiter_token", said):
        # Wav2Vec2CTCTokenizer of transformers 5.23 saves its delimiter and takes its default again when it is loaded.
        saved.notes.append(
            f"the word delimiter is {printable(said)}, as the folder says; transformers goes by its default"
        )
        own._word_delimiter_token = said  # the property itself is taken for a special token, and sets another
    return own


def _said_delimiter(saved: SavedModel) -> str | None:
    said = saved.read_json("tokenizer_config.json").get("word_delimiter_token")
    said = said.get("content") if isinstance(said, dict) else said
    return said if isinstance(said, str) else None


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


# --- a tokenizer that writes alone --------------------------------------------------------------------------------


def _converted(own: Any, ctc: Mapping[str, Any]) -> dict[str, Any] | None:
    """`own` in the form of the tokenizers library; None where that writes drawn answers otherwise than `own` does."""
    drawn = [tokens.tolist() for tokens in _drawn(len(own), ctc.get("blank"))]
    # As attn-run transcribe writes them: without spaces at either end.
    expected = [str(own.decode(tokens, skip_special_tokens=not ctc)).strip() for tokens in drawn]
    form = _form(own, ctc)
    try:
        text = CtcText(ctc, form, "the folder") if ctc else TokenText(form, "the folder")
        made = [text.text(tokens) if isinstance(text, CtcText) else text.decode(tokens).strip() for tokens in drawn]
    except AttnError:
        return None
    return form if made == expected else None


def _drawn(count: int, blank: int | None) -> Iterator[np.ndarray[Any, np.dtype[np.int64]]]:
    random = np.random.default_rng(0)
    for _ in range(_ANSWERS):
        tokens = random.integers(0, count, _LENGTH)
        if blank is not None:  # runs of a token, and blanks between equal ones, as frames have them
            tokens = np.repeat(tokens, random.integers(1, 3, _LENGTH))
            tokens[random.random(len(tokens)) < 0.3] = blank
        yield tokens


def _form(own: Any, ctc: Mapping[str, Any]) -> dict[str, Any]:
    backend = getattr(own, "backend_tokenizer", None)
    if backend is not None:
        kept: dict[str, Any] = json.loads(backend.to_str())
        return kept
    vocabulary = {str(own.convert_ids_to_tokens(token)): token for token in range(len(own))}
    if ctc:
        # It writes the delimiter as a space where it cleans up, which does nothing else to single characters.
        delimiter = ctc.get("word_delimiter", " ")
        decoder = {"type": "CTC", "pad_token": own.pad_token, "word_delimiter_token": delimiter, "cleanup": True}
        special = []
    else:
        decoder = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
        special = [token for token in own.all_special_ids if token < len(own)]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_added(own, token) for token in dict.fromkeys(special)],
        "normalizer": None,
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": decoder,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": str(own.unk_token or own.pad_token)},
    }


def _added(own: Any, token: int) -> dict[str, Any]:
    content = str(own.convert_ids_to_tokens(token))
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": token, "content": content, **flags}
