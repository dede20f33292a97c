"""Whole answers: transformers' generate by a model's own generation config, and the reference by the rules made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from attn_export.huggingface.generation_rules import generation_rules
from attn_models import reference_generation
from attn_models.spec import GenerationSpec
from torch import Tensor

transformers = pytest.importorskip("transformers")

SMALL = {
    "vocab_size": 60,
    "d_model": 32,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
LAYERS = {
    f"{side}_{key}": size
    for side in ("encoder", "decoder")
    for key, size in {"layers": 1, "attention_heads": 2, "ffn_dim": 32}.items()
}
SUMMARIZER = {
    "num_beams": 4, "length_penalty": 2.0, "early_stopping": True, "no_repeat_ngram_size": 3, "min_length": 8, "max_length": 18,
    "forced_bos_token_id": 0, "forced_eos_token_id": 2,
}  # fmt: skip
TRANSLATOR = {
    "num_beams": 3,
    "bad_words_ids": [[1], [9]],
    "max_length": 12,
    "forced_eos_token_id": 2,
    "repetition_penalty": 1.2,
}
SAMPLED_AWAY = {
    "max_new_tokens": 9,
    "min_new_tokens": 4,
    "forced_bos_token_id": 7,
    "suppress_tokens": [5, 6],
    "begin_suppress_tokens": [8],
}


def model_of(kind: str, **config: Any) -> Any:
    """A model with drawn weights, sharp enough that answers are decided."""
    torch.manual_seed(3)
    settings = getattr(transformers, f"{kind}Config")(**(SMALL | LAYERS | config))
    name = f"{kind}ForConditionalGeneration" if kind != "Marian" else "MarianMTModel"
    model = getattr(transformers, name)(settings).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.35)
    return model


def spec_of(model: Any, encoder: bool, vocabulary: int) -> tuple[GenerationSpec, int, dict[str, Any]]:
    """The reference's view of the model, the most tokens of an answer, and the defaults of its rules."""
    rules, notes = generation_rules(
        model.generation_config, model.config.get_text_config(decoder=True), vocabulary, encoder
    )
    assert notes == []

    def logits(module: Any, prompt: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
        if not encoder:
            return module(input_ids=tokens).logits
        given = {"attention_mask": prompt["source_mask"].long()} if "source_mask" in prompt else {}
        first = prompt.get("source", prompt.get("features"))
        return module(first, decoder_input_ids=tokens, **given).logits

    asset = {"encoder": "encoder" if encoder else None, "max_length": 60, **rules}
    defaults = asset.get("defaults", {})
    begin = len(asset["begin"] or ())
    most = defaults["max_length"] - begin if "max_length" in defaults else defaults["max_new"]
    return GenerationSpec(asset, logits, lambda seed: []), most, defaults


def answers_of(
    model: Any, spec: GenerationSpec, most: int, defaults: dict[str, Any], prompt: Mapping[str, Tensor]
) -> Any:
    penalty = defaults.get("length_penalty", 1.0)
    if defaults.get("beams", 1) == 1:
        return reference_generation.greedy(model, spec, prompt, most, penalty)
    early = defaults.get("early_stop", False)
    return reference_generation.beam(model, spec, prompt, defaults["beams"], penalty, most, early)


def written(sequence: list[int], begin: int, stop: list[int]) -> list[int]:
    tokens = sequence[begin:]
    ends = [place + 1 for place, token in enumerate(tokens) if token in stop]
    return tokens[: ends[0] if ends else None]


@pytest.mark.parametrize(
    ("kind", "config", "generation"),
    [
        ("Bart", {}, SUMMARIZER),
        ("Marian", {"decoder_start_token_id": 1}, TRANSLATOR),
        ("MBart", {"decoder_start_token_id": 2}, SAMPLED_AWAY),
        # Of a config without a generation_config.json: no trigram of the source, a forced end.
        ("Blenderbot", {}, {"max_length": 14, "num_beams": 2}),
    ],
    ids=["bart", "marian", "mbart", "blenderbot"],
)
def test_an_encoder_decoder_writes_what_transformers_does(kind: str, config: Any, generation: dict[str, Any]) -> None:
    model = model_of(kind, **config)
    for key, value in generation.items():
        setattr(model.generation_config, key, value)
    spec, most, defaults = spec_of(model, True, 60)
    torch.manual_seed(5)
    begin = len(spec.asset["begin"])
    for length in (7, 12):
        source = torch.randint(3, 60, (1, length))
        mask = torch.ones_like(source)
        made = model.generate(source, attention_mask=mask, return_dict_in_generate=True, output_scores=True)
        found = answers_of(model, spec, most, defaults, {"source": source, "source_mask": mask.bool()})
        expected = written(made.sequences[0].tolist(), begin, spec.asset["stop"])
        assert found.tokens[0, : int(found.lengths[0])].tolist() == expected
        assert made.sequences[0, :begin].tolist() == spec.asset["begin"]
        if "sequences_scores" in made:
            torch.testing.assert_close(found.scores, made.sequences_scores, rtol=1e-4, atol=1e-5)


def test_a_decoder_writes_what_transformers_does() -> None:
    torch.manual_seed(3)
    config = transformers.GPT2Config(
        vocab_size=60, n_positions=64, n_embd=32, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=2, pad_token_id=1
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, 0.5)
    rules = {
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "encoder_no_repeat_ngram_size": 2,
        "min_new_tokens": 5,
    }
    for key, value in {**rules, "max_new_tokens": 12, "suppress_tokens": [7], "forced_eos_token_id": 2}.items():
        setattr(model.generation_config, key, value)
    spec, most, defaults = spec_of(model, False, 60)
    for length in (4, 9):
        prompt = torch.randint(3, 60, (1, length))
        made = model.generate(prompt, attention_mask=torch.ones_like(prompt))
        found = answers_of(model, spec, most, defaults, {"tokens": prompt})
        assert found.tokens[0, : int(found.lengths[0])].tolist() == written(made[0].tolist(), length, [2])


def test_speech_writes_what_transformers_does() -> None:
    tiny = {"max_source_positions": 25, "max_target_positions": 64, "num_mel_bins": 8, "decoder_start_token_id": 50}
    model = model_of("Whisper", **tiny, begin_suppress_tokens=[4])
    extra = {
        "is_multilingual": True, "no_timestamps_token_id": 56, "lang_to_id": {"<|en|>": 51, "<|de|>": 52}, "language": "de",
        "task_to_id": {"transcribe": 53, "translate": 54}, "task": "translate", "suppress_tokens": [5, 6, 50], "max_length": 12,
    }  # fmt: skip
    for key, value in extra.items():
        setattr(model.generation_config, key, value)
    spec, most, defaults = spec_of(model, True, 60)
    assert spec.asset["begin"] == [50, 52, 54, 56]
    torch.manual_seed(5)
    features = torch.randn(1, 8, 50)
    made = model.generate(features, attention_mask=torch.ones(1, 50, dtype=torch.long))
    found = answers_of(model, spec, most, defaults, {"features": features})
    tokens = found.tokens[0, : int(found.lengths[0])].tolist()
    assert made[0].tolist() == [token for token in tokens if token not in spec.asset["stop"]], (
        "which are left out there"
    )
    assert most == 12
