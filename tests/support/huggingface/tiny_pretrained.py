"""Tiny random models of transformers by their `model_type`: two layers, weights drawn anew so that attention and margins matter.

As transformers initialises them, weights are so small that every token is as good as another, and a fault changes none.
"""

from __future__ import annotations

from typing import Any

import torch
import transformers
from attn_export.huggingface.generators import generator_spec
from attn_models.spec import ModelSpec

from support.huggingface.folders import redrawn

_WINDOWS = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 6}
_EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_DECODER: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 8,
    "v_head_dim": 6,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_key_value_heads": 4,
    "first_k_dense_replace": 1,
    "head_dim": 4,
}
_OLD = {"vocab_size": 97, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "eos_token_id": 2}
_BOTH = {
    "vocab_size": 97,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
    "pad_token_id": 1,
    "eos_token_id": 2,
    "bos_token_id": 0,
    "decoder_start_token_id": 2,
}
_BUCKETS = {
    "vocab_size": 97,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
    "decoder_start_token_id": 0,
}
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id")
#: `model_type` -> what its config is made with.
CONFIGS: dict[str, dict[str, Any]] = {
    "gpt2": _OLD,  # the oldest form: learned places
    "llama": _DECODER,  # rotary places, keys shared by two heads
    "gemma2": {**_DECODER, **_WINDOWS, "query_pre_attn_scalar": 8},  # softcap, a window in every other layer
    "bloom": {
        "vocab_size": 97,
        "hidden_size": 32,
        "n_layer": 2,
        "n_head": 4,
        "eos_token_id": 2,
    },  # linear biases, own attention
    "gpt_oss": {**_DECODER, **_EXPERTS, **_WINDOWS},  # sinks, experts
    "gpt_neo": {  # attention that cuts its window out by index
        "vocab_size": 97,
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "max_position_embeddings": 128,
        "attention_types": [[["global", "local"], 1]],
        "window_size": 6,
        "eos_token_id": 2,
    },
    "mpt": {"vocab_size": 97, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64, "eos_token_id": 2},
    "roberta": {**_DECODER, "is_decoder": True, "pad_token_id": 1},  # numbers its tokens from 2
    "deepseek_v3": {**_DECODER, **_EXPERTS, **_LATENT},  # latent attention: keys wider than values
    "t5": {**_BUCKETS, "num_decoder_layers": 2, "pad_token_id": 0, "eos_token_id": 2},  # bucketed distances
    "bart": _BOTH,
    "marian": {**_BOTH, "pad_token_id": 96, "decoder_start_token_id": 96},
    "whisper": {**_BOTH, "num_mel_bins": 16, "max_source_positions": 24, "max_target_positions": 64},
    "led": {
        **_BOTH,
        "attention_window": 4,
        "max_encoder_position_embeddings": 64,
        "max_decoder_position_embeddings": 64,
    },
    "mamba": {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 4},
    "lfm2": {**_DECODER, "layer_types": ["conv", "full_attention"]},
    "rwkv": {"vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 2, "context_length": 64},
}


def tiny_model(kind: str, **changes: Any) -> Any:
    """A model of this `model_type`, in eval mode, the same at every call; `changes` are to its config."""
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        kind, **{**CONFIGS[kind], "tie_word_embeddings": kind == "marian", **changes}
    )
    makers = (
        transformers.AutoModelForCausalLM,
        transformers.AutoModelForSeq2SeqLM,
        transformers.AutoModelForSpeechSeq2Seq,
    )
    maker = next(m for m in makers[config.is_encoder_decoder :] if type(config) in m._model_mapping)
    model = redrawn(maker.from_config(config, dtype=torch.float32))
    tokens = {name: getattr(model.generation_config, name) for name in _TOKENS}
    model.generation_config = transformers.GenerationConfig(**tokens)  # no rules but where answers begin and end
    return model


def spec(kind: str, layers: int = 2) -> ModelSpec:
    """What attn-export takes of such a model, as a user's own callable returns it."""
    changes = {} if layers == 2 else {"num_hidden_layers": layers}
    return generator_spec(tiny_model(kind, **changes), max_length=64)
