"""Wav2Vec2FeatureExtractor's `do_normalize`: each recording to mean 0 and variance 1. SpeechT5's is the same.

Source: transformers 5.23, models/wav2vec2/feature_extraction_wav2vec2.py, `zero_mean_unit_var_norm`. A row of the graph has no
padding (recordings of different lengths are run apart), so all of its samples count, as they do there.
"""

from __future__ import annotations

from torch import Tensor, nn


class WaveformNormalization(nn.Module):
    """Waveform [B, samples] -> the same shape, float32."""

    #: Added to the variance, so that silence stays silence.
    EPSILON = 1e-7

    def forward(self, waveform_BS: Tensor) -> Tensor:
        centred_BS = waveform_BS - waveform_BS.mean(dim=1, keepdim=True)
        variance_B1 = (centred_BS * centred_BS).mean(dim=1, keepdim=True)
        return centred_BS / (variance_B1 + self.EPSILON).sqrt()
