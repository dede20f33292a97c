"""Small configurations of any model type of transformers: the default one, with every size that its name tells made small.

Sizes go by the names that configurations use (hidden_size, d_model, n_layer ...), sub-configurations too, so that hardly a
model has a line of its own: what no name tells is in `corrections.py`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from math import gcd
from typing import Any

from corrections import CORRECTIONS
from transformers import Dinov2Config, PreTrainedConfig, ResNetConfig, TimmBackboneConfig

#: Width of everything that is a width: 4 heads of 8.
WIDTH, HEADS, LAYERS, VOCABULARY, SIDE = 32, 4, 2, 97, 32

_PART = r"(encoder_|decoder_|text_|vision_|audio_|speech_|t2u_|t2u_encoder_|t2u_decoder_|qformer_)?"
#: (group, names, largest value): the first whose expression is the whole name.
SIZES: tuple[tuple[str, str, int], ...] = (
    ("vocabulary", r"(n_)?(\w+_)?vocab_size(_per_layer_input)?|\w+_group_vocab", VOCABULARY),
    ("heads", r"(qk_|attention_|global_)?head_dim|d_kv|kv_channels|(hidden|head)_size_per_head", 8),
    ("heads", r"(query|q|kv|o|moe)_lora_rank|lora_rank", 16),
    ("heads", r"(qk_rope_head|rotary)_dim", 4),
    ("heads", r"qk_nope_head_dim|v_head_dim", 8),
    ("heads", r"(num|n)_(key_value|kv|global_key_value)_heads?|num_kv_heads|multi_query_group_num", 2),
    ("heads", rf"(num_|n_)?{_PART}(self_|cross_)?(num_)?(attention_|attn_)?heads?|\w*_attention_heads", HEADS),
    ("layers", r"num_blocks", 1),
    ("layers", rf"(num_|n_)?{_PART}(num_)?(hidden_)?layers?|depth", LAYERS),
    (
        "widths",
        rf"{_PART}(moe_|shared_expert_|shared_)?(intermediate|ffn|mlp|ffn_hidden)_(size|dim)|ffn_dim|d_ff|d_inner",
        48,
    ),
    ("widths", r"n_inner|dim_feedforward|ffn_hidden_size|(encoder|decoder)_feedforward_dim", 48),
    (
        "widths",
        rf"{_PART}hidden_(size|dim)(_global)?|d_model|n_embd|dim|{_PART}width|model_dim|lru_width|emb_dim|d_latents",
        WIDTH,
    ),
    (
        "widths",
        r"(\w+_)?embed_(proj_)?dim|embedding_dim|projection_(dim|hidden_size)|hidden_size_per_layer_input",
        WIDTH,
    ),
    (
        "widths",
        r"(fusion|neck|reassemble|head|pred|bottleneck)_hidden_size|bottleneck_features|feature_size|mask_(feature_size|dim)|conv_dim",
        WIDTH,
    ),
    ("widths", r"embedding_size", 16),
    ("widths", r"num_filters", 4),
    ("experts", r"(num|n|moe_num)_(local_|routed_|moe_)?experts", 4),
    ("experts", r"(num_)?experts_per_(tok|token)|moe_(top_?)?k|top_k_experts|num_experts_per_tok", 2),
    ("experts", r"n_group|topk_group", 1),
    ("lengths", r"max_position_embeddings|n_positions|max_seq_len(gth)?|n_ctx|seq_length|max_target_positions", 64),
    ("lengths", r"max_source_positions", 24),
    ("windows", r"sliding_window|attention_chunk_size|local_attention|attention_window(_size)?", 6),
    ("windows", r"window_size", 4),
    ("windows", r"context_size", 16),
    ("sides", r"(image|crop|input)_size", SIDE),
    ("sides", r"patch_size", 8),
    ("sides", r"num_frames|frames_per_clip", 4),
    ("sound", r"num_mel_bins", 16),
    ("sound", r"num_feat_extract_layers", 3),
    ("sound", r"num_conv_pos_embeddings", 16),
    ("sound", r"num_conv_pos_embedding_groups", 4),
    ("states", r"(ssm_)?state_size|mamba_d_state", 4),
    ("queries", r"num_(object_)?queries|num_detection_tokens|num_latents", 5),
    ("classes", r"num_labels", 5),
)
#: Lists that stand for what they stand for: a feature extractor of sound that shortens by 80.
LISTS: dict[str, list[int]] = {"conv_dim": [16] * 3, "conv_stride": [5, 4, 4], "conv_kernel": [10, 4, 4]}
_TOKENS = ("pad", "bos", "eos", "decoder_start", "cls", "sep", "mask", "unk")


#: Groups of sizes that stay as they are, the smallest models first.
_KEPT: tuple[tuple[str, ...], ...] = (
    (),
    ("lists",),
    ("sides",),
    ("lists", "windows", "sides"),
    ("lists", "windows", "heads"),
    ("lists", "windows", "heads", "widths"),
    ("lists", "windows", "heads", "widths", "sides"),
)
_LEVELS = ["stage1", "stage2", "stage3", "stage4"]
_RESNET: dict[str, Any] = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1] * 4}
_VIT: dict[str, Any] = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "image_size": SIDE, "patch_size": 8}
#: What a model is put on that names none: of one map, of three, of four, of four by a transformer; None leaves the place empty.
BACKBONES: tuple[Callable[[], PreTrainedConfig] | None, ...] = (
    lambda: ResNetConfig(**_RESNET, out_features=_LEVELS[3:]),
    lambda: ResNetConfig(**_RESNET, out_features=_LEVELS[1:]),
    lambda: ResNetConfig(**_RESNET, out_features=_LEVELS),
    lambda: Dinov2Config(**_VIT, num_hidden_layers=4, out_indices=[1, 2, 3, 4], reshape_hidden_states=False),
    None,
)


def tiny_configs(kind: type[PreTrainedConfig]) -> Iterator[PreTrainedConfig]:
    """Configurations of `kind` whose own checks pass, the smallest first. Whether one makes a model is for the caller to see."""
    correct = CORRECTIONS.get(kind.model_type)
    try:
        backbones = BACKBONES if _wants_backbone(kind()) else BACKBONES[:1]
    except Exception:  # the checks of a configuration raise what they like
        return
    for keep in _KEPT:
        for backbone in backbones:
            try:
                values = small_values(kind(), keep, backbone)
                yield kind(**{**values, **(correct(values) if correct else {})})
            except Exception:  # these too
                continue


def small_values(
    config: PreTrainedConfig,
    keep: tuple[str, ...] = (),
    backbone: Callable[[], PreTrainedConfig] | None = BACKBONES[0],
) -> dict[str, Any]:
    """The arguments that make `config` small, sub-configurations inside; `keep` are groups of sizes that stay as they are."""
    values: dict[str, Any] = {}
    given = _arguments(config)
    for name, old in vars(config).items():
        if name.startswith("_") or name not in given:
            continue
        if isinstance(old, TimmBackboneConfig):
            if backbone is not None:
                values[name] = backbone()
        elif isinstance(old, PreTrainedConfig):
            inner = _told(old) | small_values(old, keep, backbone)
            correct = CORRECTIONS.get(type(old).model_type)
            inner |= correct(inner) if correct else {}
            values[name] = inner | ({"model_type": type(old).model_type} if type(old).model_type else {})
        elif (small := _small(name, old, keep)) is not None:
            values[name] = small
    if _wants_backbone(config) and backbone is not None:
        values["backbone_config"] = backbone()
        values |= {name: old for name, old in (("use_timm_backbone", False), ("backbone", None)) if name in given}
    _of_layers(config, values)
    _latent_heads(values)
    _special_tokens(config, values)
    return values


def _arguments(config: PreTrainedConfig) -> set[str]:
    """What `config` was made with: the rest of it follows from that."""
    return (
        {field.name for field in dataclasses.fields(config)} if dataclasses.is_dataclass(config) else set(vars(config))
    )


def _told(config: PreTrainedConfig) -> dict[str, Any]:
    """What a part of a configuration says otherwise than its kind would by itself."""
    default, names = vars(type(config)()), _arguments(config)
    return {
        name: old
        for name, old in vars(config).items()
        if (name in names or name not in default)
        and isinstance(old, (bool, int, float, str))
        and old != default.get(name)
    }


def _wants_backbone(config: PreTrainedConfig) -> bool:
    told = vars(config)
    return (
        "use_timm_backbone" in told
        or told.get("backbone_config", 0) is None
        or isinstance(told.get("backbone_config"), TimmBackboneConfig)
    )


def _small(name: str, old: Any, keep: tuple[str, ...]) -> Any:
    if isinstance(old, (list, tuple)):
        return None if "lists" in keep or not old else _small_list(name, list(old))
    if not isinstance(old, int) or isinstance(old, bool) or old <= 0:
        return None
    for group, names, most in SIZES:
        if re.fullmatch(names, name):
            return None if group in keep else min(old, most)
    return None


def _small_list(name: str, old: list[Any]) -> list[int] | None:
    """Of a list with an entry a stage: one block each, widths by one factor, so that what doubles still doubles."""
    if any(not isinstance(o, int) or isinstance(o, bool) or o <= 0 for o in old):
        return None
    if name in LISTS:
        return LISTS[name]
    if re.fullmatch(r"(\w+_)?(depths?|num_blocks|layers|num_layers)", name):
        return [1] * len(old)
    if re.fullmatch(r"\w*(hidden_sizes?|embed_dims?|channels|widths?|dims?|filters)", name) and min(old) >= 16:
        factor = next((f for f in (16, 12, 8, 6, 4, 3, 2) if all(o % f == 0 and o // f >= 8 for o in old)), 1)
        return [o // factor for o in old]
    if re.fullmatch(r"(\w+_)?heads", name) and len(set(old)) > 1:
        return [o // gcd(*old) for o in old]
    if len(set(old)) == 1:
        small = next((most for _, names, most in SIZES if re.fullmatch(names, name)), None)
        return None if small is None else [min(o, small) for o in old]
    return None


def _of_layers(config: PreTrainedConfig, values: dict[str, Any]) -> None:
    """A list with an entry for each layer is as long as there are layers, which are as many as there are kinds of layers."""
    before = vars(config).get("num_hidden_layers")
    kinds = vars(config).get("layer_types")
    layers = values.get("num_hidden_layers", LAYERS)
    for name in ("out_indices", "backbone_out_indices"):
        levels = getattr(config, name, None) or ()
        if len(levels) > 1:  # maps of several depths need the blocks that they come from
            values[name] = list(levels)
            if before and max(levels) >= layers:
                layers = values["num_hidden_layers"] = max(levels) + 1
    if isinstance(kinds, (list, tuple)) and kinds and before:
        unique = list(dict.fromkeys(kinds))
        layers = values["num_hidden_layers"] = max(LAYERS, len(unique))
        values["layer_types"] = [unique[n % len(unique)] for n in range(layers)]
    for name, old in vars(config).items():
        if isinstance(old, (list, tuple)) and name != "layer_types" and before and len(old) == before != layers:
            values[name] = [o if (small := _small(name, o, ())) is None else small for o in old[:layers]]


def _latent_heads(values: dict[str, Any]) -> None:
    """Keys that are made of a latent are each head's own, and a place turns that part of them alone which is not made of it."""
    if "kv_lora_rank" in values and "qk_rope_head_dim" in values:
        turned = values["qk_rope_head_dim"]
        values |= {"head_dim": turned} if "head_dim" in values else {}
        values |= {"qk_head_dim": values["qk_nope_head_dim"] + turned} if "qk_head_dim" in values else {}
        values["num_key_value_heads"] = values.get("num_attention_heads", HEADS)


def _special_tokens(config: PreTrainedConfig, values: dict[str, Any]) -> None:
    """Ids below the vocabulary, no two the same that were not."""
    size = values.get("vocab_size", VOCABULARY)
    taken: dict[int, int] = {}
    named = [f"{token}_token_id" for token in _TOKENS]
    others = [n for n, v in vars(config).items() if n.endswith(("_token_id", "_token_index")) and n not in named]
    for name in [*named, *others]:
        old = vars(config).get(name)
        ids = old if isinstance(old, (list, tuple)) else [old]
        if old is None or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
            continue
        for i in ids:
            if i not in taken:
                free = [
                    n for n in (range(size) if name in named else range(size - 1, 0, -1)) if n not in taken.values()
                ]
                taken[i] = i if 0 <= i < size and i not in taken.values() else free[3 if name in named else 0]
        if any(taken[i] != i for i in ids):
            values[name] = [taken[i] for i in ids] if isinstance(old, (list, tuple)) else taken[ids[0]]
    if getattr(config, "is_encoder_decoder", False) and all(
        vars(config).get(name) is None for name in ("decoder_start_token_id", "bos_token_id")
    ):
        values["decoder_start_token_id"] = values.get("pad_token_id", vars(config).get("pad_token_id")) or 0
