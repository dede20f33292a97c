"""What the names of a configuration's sizes do not tell, by model type: small values by name -> further values.

Sizes that must fit together, values that have no default, and lists whose entries mean something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Correction = Callable[[Mapping[str, Any]], dict[str, Any]]


def _always(**values: Any) -> Correction:
    return lambda small: dict(values)


_EFFICIENTNET = _always(  # the stem has 32 maps whatever the lists say
    in_channels=[32, 16, 24, 40, 80, 112, 192],
    out_channels=[16, 24, 40, 80, 112, 192, 320],
    width_coefficient=0.5,
    depth_coefficient=0.5,
    hidden_dim=640,
)
_HEAD = _always(head_dim=8)
_MAMBA = _always(mamba_n_heads=8, mamba_d_head=8, mamba_n_groups=1, mamba_chunk_size=8)
_STAGES_OF_FOUR = _always(num_hidden_layers=4, out_indices=[1, 2, 3, 4])
_STRICT_HEADS: Correction = lambda small: {"num_key_value_heads": small.get("num_attention_heads", 4)}  # noqa: E731

CORRECTIONS: dict[str, Correction] = {
    "align": _always(projection_dim=160),
    "align_vision_model": _EFFICIENTNET,
    "bamba": _MAMBA,
    "beit": _STAGES_OF_FOUR,
    "bit": _always(embedding_size=32, hidden_sizes=[32, 32, 64, 64], num_groups=8),
    "bros": _always(hidden_size=64),
    "cohere_compass_text": _always(rope_parameters={"full_attention": {"rope_type": "default", "rope_theta": 10000.0}}),
    "blip_2_qformer": _always(use_qformer_text_input=True),
    "cpmant": _always(dim_head=8, dim_ff=48),
    "data2vec-vision": _STAGES_OF_FOUR,
    "dbrx": _always(
        attn_config={"rope_theta": 10000.0, "kv_n_heads": 2, "clip_qkv": 8.0},
        ffn_config={"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    ),
    "deepseek_v2": _always(num_experts_per_tok=2),
    "donut-swin": _always(embed_dim=16, num_heads=[2, 4, 4, 4], window_size=4, image_size=64, patch_size=2),
    "dots1": _always(n_routed_experts=4, num_experts_per_tok=2, n_shared_experts=1, first_k_dense_replace=1),
    "depth_pro": _always(intermediate_hook_ids=[1, 0], intermediate_feature_dims=[32] * 2),
    "efficientnet": _EFFICIENTNET,
    "esm": _always(vocab_size=33, pad_token_id=1, mask_token_id=32),
    "esmc": _STRICT_HEADS,
    "fun_asr_nano": lambda small: {"adaptor_config": {**small["adaptor_config"], "intermediate_size": 8}},
    "gemma3n_text": _always(
        num_hidden_layers=4,
        num_kv_shared_layers=2,
        layer_types=["sliding_attention", "full_attention"] * 2,
        intermediate_size=[48] * 4,
        activation_sparsity_pattern=[0.0] * 4,
        laurel_rank=4,
    ),
    "gpt_neo": _always(attention_types=[[["global", "local"], 1]], num_layers=2, window_size=6),
    "granitemoehybrid": _MAMBA,
    "hgnet_v2": _always(
        stem_channels=[3, 8, 16],
        stage_in_channels=[16, 16, 32, 48],
        stage_mid_channels=[8] * 4,
        stage_out_channels=[16, 32, 48, 64],
        hidden_sizes=[16, 32, 48, 64],
        stage_numb_of_layers=[2] * 4,
    ),
    "hunyuan_v1_dense": _HEAD,
    "hunyuan_v1_moe": _HEAD,
    "layoutlmv3": _always(coordinate_size=5, shape_size=6),
    "lfm2_moe": _always(layer_types=["conv", "full_attention"]),
    "lilt": _always(hidden_size=48),
    "llama4_vision_model": _always(intermediate_size=128, projector_input_dim=32, projector_output_dim=32),
    "longcat_flash": _always(zero_expert_num=2, expert_ffn_hidden_size=16),
    "lw_detr": _always(projector_scale_factors=[1.0]),
    "mamba2": _always(num_heads=8, head_dim=8, n_groups=2, chunk_size=8),
    "markuplm": _always(max_xpath_tag_unit_embeddings=256, max_xpath_subs_unit_embeddings=1024),
    "ministral": _HEAD,
    "mobilevit": _always(image_size=64, aspp_out_channels=16),
    "mobilevitv2": _always(image_size=64, aspp_out_channels=16),
    "moonshine_streaming": _always(num_key_value_heads=4),
    "nemotron3_5_transcribe_asr_audio": _STRICT_HEADS,
    "nemotron": _always(num_key_value_heads=2, head_dim=8),
    "pp_doclayout_v2": _always(
        encoder_in_channels=[32, 48, 64],
        decoder_in_channels=[32] * 3,
        class_thresholds=[0.5] * 25,
        class_order=list(range(25)),
    ),
    "pp_doclayout_v3": _always(
        encoder_in_channels=[32, 48, 64], decoder_in_channels=[32] * 3, x4_feat_dim=16, mask_feature_channels=[16, 16]
    ),
    "squeezebert": _always(embedding_size=32),
    "swinv2": _always(embed_dim=16, num_heads=[2, 4, 4, 4], window_size=4, image_size=64, patch_size=2),
    "timm_backbone": _always(backbone="resnet10t"),
    "wav2vec2-bert": _always(vocab_size=33),
    "wav2vec2-conformer": _always(vocab_size=33),
    "xmod": _always(default_language="en_XX"),
}
