"""Tiny models of sound as transformers saves them, with weights drawn large enough that their answers depend on what is heard."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from attn_export.huggingface import SavedModel
from attn_export.huggingface.front_ends import audio_assets, front_end
from attn_models.spec import GraphSpec, ModelSpec
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn

from support.huggingface.folders import redrawn

RATE = 4000
SMALL: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 12,
}  # fmt: skip
WAVES: dict[str, Any] = {
    **SMALL, "conv_dim": (16, 16, 16), "conv_stride": (5, 4, 4), "conv_kernel": (10, 3, 3), "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "pad_token_id": 0, "apply_spec_augment": False,
}  # fmt: skip
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", "A", "B", "C", "D", "E", "F", "'"]


def saved(folder: Path) -> SavedModel:
    return SavedModel(folder, None, None, transformers.AutoConfig.from_pretrained(folder))


def letters(folder: Path, **options: Any) -> transformers.Wav2Vec2CTCTokenizer:
    """A tokenizer of the kind that wav2vec2's folders have: vocab.json alone."""
    file = folder / "letters.json"
    file.write_text(json.dumps({letter: n for n, letter in enumerate(LETTERS)}))
    return transformers.Wav2Vec2CTCTokenizer(str(file), **options)


def ctc_folder(folder: Path, **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    model = redrawn(transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**WAVES, do_stable_layer_norm=False)))
    model.save_pretrained(folder)
    letters(folder, **options).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True).save_pretrained(folder)
    return folder


def spectrogram_folder(folder: Path) -> Path:
    config = transformers.ASTConfig(
        **{key: value for key, value in SMALL.items() if key != "vocab_size"}, max_length=32, num_mel_bins=24, patch_size=8,
        frequency_stride=8, time_stride=8, id2label={n: f"sound {n}" for n in range(5)},
    )  # fmt: skip
    redrawn(transformers.ASTForAudioClassification(config)).save_pretrained(folder)
    transformers.ASTFeatureExtractor(num_mel_bins=24, max_length=32).save_pretrained(folder)
    return folder


def sound(samples: int, seed: int = 0, rate: int = RATE) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Tones that change eight times a second, in a little noise: float32 [samples], in steps of 16-bit PCM."""
    random = np.random.default_rng(seed)
    pieces = -(-samples * 8 // rate)
    pitch = np.repeat(random.uniform(0.02, 0.3, pieces) * rate, rate // 8 + 1)[:samples]
    loud = np.repeat(random.uniform(0.0, 0.4, pieces), rate // 8 + 1)[:samples]
    made = loud * np.sin(2 * np.pi * np.cumsum(pitch) / rate) + 0.02 * random.standard_normal(samples)
    return np.asarray(np.round(np.clip(made, -1, 1) * 32767) / 32768, np.float32)


class Heard(nn.Module):
    """The model behind its front end."""

    def __init__(self, model: nn.Module, front: nn.Module) -> None:
        super().__init__()
        self.model, self.front = model, front

    def forward(self, waveform: Tensor) -> Tensor:
        logits: Tensor = self.model(**{self.front.takes: self.front(waveform)}).logits  # type: ignore[dict-item, operator]
        return logits


def spec(folder: str, least: int = 0, most: int = 0) -> ModelSpec:
    """SOURCE of an export: a saved folder behind its front end, its recordings of `least` to `most` samples where given."""
    there = saved(Path(folder))
    kind = getattr(transformers, there.config.architectures[0])
    model = kind.from_pretrained(folder, attn_implementation="sdpa").eval()
    front = front_end(there, model)
    assert front is not None
    waveform = front.input
    if most:
        samples = Dim("samples", least, most, most)
        waveform = TensorSpec(waveform.name, "float32", (Dim("batch", 1, 2, 3), samples), values=waveform.values)
    outputs = (TensorSpec("logits", "float32", (waveform.dims[0],)),)
    assets = audio_assets(there, [waveform], outputs)
    if "ctc.json" not in assets:
        assets["labels.json"] = list(there.config.id2label.values())
    graph = GraphSpec("model", (waveform,), outputs, lambda model: Heard(model, front))
    return ModelSpec("heard", "sound", kind.__name__, lambda: model, (graph,), assets=lambda: assets)
