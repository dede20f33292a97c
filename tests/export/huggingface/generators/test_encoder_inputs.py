"""What an encoder reads is taken from its own config, and a front end in front of it is part of its graph."""

from __future__ import annotations

import pytest
import torch
import transformers
from attn_export.huggingface.generators.encoder_inputs import encoder_inputs
from attn_export.huggingface.generators.plan import Convention, Plan
from attn_export.huggingface.generators.views import Encoder
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from support.huggingface.folders import redrawn
from support.huggingface.tiny_pretrained import CONFIGS, tiny_model
from torch import Tensor, nn

BATCH = Dim("batch", 1, 2, 8)


class Frames(nn.Module):
    """16 features of each of 48 frames of 10 samples."""

    def forward(self, waveform: Tensor) -> Tensor:
        return waveform.reshape(len(waveform), 48, 10).mean(2)[:, None] * torch.arange(16)[:, None]


def test_text_has_a_mask_and_the_places_of_the_model() -> None:
    found = encoder_inputs(tiny_model("marian"), BATCH)
    source, mask = found.specs
    assert (source.dtype, source.high, mask.dtype) == ("int64", 97, "bool")
    assert (source.dims[1].min, source.dims[1].max, source.dims == mask.dims) == (1, 64, True)
    sample = found.sample(3, 5)
    assert sample["source"].shape == sample["source_mask"].shape == (3, 5)


def test_features_of_sound_and_pictures_have_the_size_of_the_model() -> None:
    (features,) = encoder_inputs(tiny_model("whisper"), BATCH).specs
    assert [d.opt for d in features.dims[1:]] == [16, 48] and not any(d.dynamic for d in features.dims[1:])
    picture = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, image_size=16, patch_size=8
    )
    text = transformers.GPT2Config(**CONFIGS["gpt2"])
    both = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(picture, text)
    (pixels,) = encoder_inputs(redrawn(transformers.VisionEncoderDecoderModel(both)), BATCH).specs
    assert [d.opt for d in pixels.dims[1:]] == [3, 16, 16]


def test_features_of_any_number_of_frames() -> None:
    """Each frame has the numbers that the encoder's config says, by one name or another."""
    sizes = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4}
    config = transformers.CanaryConfig(
        vocab_size=97,
        encoder_config={**sizes, **heads, "model_type": "parakeet_encoder", "num_mel_bins": 24},
        decoder_config={**sizes, **heads, "model_type": "canary_decoder"},
    )
    (features,) = encoder_inputs(transformers.CanaryForConditionalGeneration(config), BATCH).specs
    assert features.dims[1].dynamic and features.dims[2] == Dim.fixed(24)


def test_a_front_end_is_part_of_the_graph() -> None:
    model = tiny_model("whisper")
    spec = TensorSpec("waveform", "float32", (BATCH, Dim.fixed(480)), "a recording")
    found = encoder_inputs(model, BATCH, (Frames(), spec))
    assert [d.opt for d in found.specs[0].dims[1:]] == [480] and found.specs[0].meaning == "a recording"
    waveform = found.sample(2)["waveform"]
    view = Encoder(model, Plan(frozenset(), Convention(), found))
    with torch.no_grad():
        expected = model.get_encoder()(Frames()(waveform)).last_hidden_state
        torch.testing.assert_close(view(waveform), expected)


def test_an_encoder_of_anything_else_is_refused() -> None:
    model = tiny_model("whisper")
    model.get_encoder().main_input_name = "point_clouds"
    with pytest.raises(
        UsageError, match="WhisperForConditionalGeneration: its encoder takes point_clouds; expected input_ids"
    ):
        encoder_inputs(model, BATCH)
