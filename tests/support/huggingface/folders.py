"""Folders as save_pretrained leaves them, of tiny models whose weights are drawn so that every part matters.

Fresh weights of transformers are small, heads are zero in places, and embeddings are tied: such a model answers nearly the
same whatever it is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

TEXT = {
    "vocab_size": 97,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
PICTURE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
SOUND = {
    **{k: v for k, v in TEXT.items() if k != "max_position_embeddings"},
    "vocab_size": 33,
    "conv_dim": (16, 16, 16),
    "conv_stride": (5, 4, 4),
    "conv_kernel": (10, 4, 4),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
_DECODER = {**TEXT, "num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_BART = {
    "vocab_size": 97,
    "d_model": 32,
    "max_position_embeddings": 40,
    **{f"{part}_{size}": n for part in ("encoder", "decoder") for size, n in (("layers", 1), ("attention_heads", 4))},
    **{f"{part}_ffn_dim": 48 for part in ("encoder", "decoder")},
}

#: Kind -> (class, config).
KINDS: dict[str, Callable[[], Any]] = {
    "bert": lambda: transformers.BertModel(transformers.BertConfig(**TEXT)),
    "bert_classifier": lambda: transformers.BertForSequenceClassification(
        transformers.BertConfig(**TEXT, num_labels=3)
    ),
    "bert_qa": lambda: transformers.BertForQuestionAnswering(transformers.BertConfig(**TEXT)),
    "bert_mlm": lambda: transformers.BertForMaskedLM(transformers.BertConfig(**TEXT)),
    "bert_choice": lambda: transformers.BertForMultipleChoice(transformers.BertConfig(**TEXT)),
    "roberta": lambda: transformers.RobertaForTokenClassification(transformers.RobertaConfig(**TEXT, num_labels=5)),
    "bart_classifier": lambda: transformers.BartForSequenceClassification(
        transformers.BartConfig(**_BART, num_labels=3)
    ),
    "layoutlm": lambda: transformers.LayoutLMForTokenClassification(
        transformers.LayoutLMConfig(**TEXT, max_2d_position_embeddings=64)
    ),
    "qwen2_classifier": lambda: transformers.Qwen2ForSequenceClassification(transformers.Qwen2Config(**_DECODER)),
    "qwen2": lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**_DECODER)),
    "vit": lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**PICTURE, num_labels=4)),
    "clip": lambda: transformers.CLIPModel(
        transformers.CLIPConfig(text_config={**TEXT, "eos_token_id": 2}, vision_config=PICTURE, projection_dim=16)
    ),
    "siglip": lambda: transformers.SiglipModel(transformers.SiglipConfig(text_config=TEXT, vision_config=PICTURE)),
    "wav2vec2_ctc": lambda: transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**SOUND)),
}


def tiny_folder(kind: str, folder: Path) -> Path:
    """`folder`, with the model `kind` of `KINDS` in it as save_pretrained writes it."""
    torch.manual_seed(0)
    redrawn(KINDS[kind]()).save_pretrained(folder)
    return folder


def redrawn(model: Any, seed: int = 0) -> Any:
    """`model` with weights that keep the size of what goes through them, norms and biases that are not 1 and 0, and a head that
    tells tokens apart."""
    generator = torch.Generator().manual_seed(seed)
    head = getattr(model.get_output_embeddings(), "weight", None)
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            drawn = torch.randn(weight.shape, generator=generator)
            if id(weight) in tables:
                weight.copy_(drawn)
            elif weight.ndim > 1:
                weight.copy_(drawn * (3.0 if weight is head else 1.5) * weight[0].numel() ** -0.5)
            elif "norm" in name.lower() or weight.eq(1).all():
                weight.add_(0.1 * drawn)
            else:
                weight.copy_(0.1 * drawn)
    return model.eval()


def sentence_folder(folder: Path, *steps: tuple[str, dict[str, Any]], model: str = "bert") -> Path:
    """`folder`, as sentence-transformers writes one: a model, and `steps` of (kind, its config.json) behind it."""
    tiny_folder(model, folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    for number, (kind, settings) in enumerate(steps, 1):
        path = f"{number}_{kind}"
        (folder / path).mkdir()
        (folder / path / "config.json").write_text(json.dumps(settings))
        kind = kind if "." in kind else f"sentence_transformers.models.{kind}"
        modules.append({"idx": number, "name": str(number), "path": path, "type": kind})
    (folder / "modules.json").write_text(json.dumps(modules))
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """Set keys of a JSON file, None deletes one."""
    value = json.loads(path.read_text()) if path.exists() else {}
    value = {k: v for k, v in {**value, **changes}.items() if v is not None}
    path.write_text(json.dumps(value))
