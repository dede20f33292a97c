"""Kaldi's filter bank and what three feature extractors make of it: AST's, Speech2Text's and SeamlessM4T's.

Source: transformers 5.23, `audio_utils.spectrogram` as those extractors call it (their form without torchaudio), and their
own files; Kaldi's feature-window.cc and feature-fbank.cc. What is done to a frame (less its mean, pre-emphasis, the window) is
linear, so it lies in the kernels of the one convolution.
"""

from __future__ import annotations

import torch
from attn_models.layers import MelPower
from torch import Tensor, nn
from torch.nn import functional as F

FRAME, HOP, LENGTH = 400, 160, 512  # samples: 25 ms, every 10 ms at 16 kHz, and the transform
LOWEST = 20.0  # Hz
EMPHASIS = 0.97
#: float32's epsilon, below which no band goes.
FLOOR = 1.192092955078125e-07


def frame_change(window_S: Tensor) -> Tensor:
    """[FRAME, FRAME], float64: less the frame's mean, then x[t] - 0.97 x[t - 1] (the first sample is its own predecessor),
    then the window."""
    mean_CS = torch.full((FRAME, FRAME), 1 / FRAME, dtype=torch.float64)
    before_CS = torch.diag(torch.ones(FRAME - 1, dtype=torch.float64), -1)
    before_CS[0, 0] = 1.0
    unit_CS = torch.eye(FRAME, dtype=torch.float64)
    return window_S.diag() @ (unit_CS - EMPHASIS * before_CS) @ (unit_CS - mean_CS)


class KaldiFbank(nn.Module):
    """Waveform [B, S] -> log power of each mel band [B, N, M], N = (S - 400) // 160 + 1, float32.

    `window` is "hann" or "povey" (Hann to the power of 0.85); `scale` what full scale is: 32768 for samples of 16 bits.
    """

    def __init__(self, sample_rate: int, bands: int, window: str, scale: float = 1.0) -> None:
        from transformers.audio_utils import mel_filter_bank

        super().__init__()
        self.scale = scale
        filters = mel_filter_bank(
            num_frequency_bins=LENGTH // 2 + 1,
            num_mel_filters=bands,
            min_frequency=LOWEST,
            max_frequency=sample_rate // 2,
            sampling_rate=sample_rate,
            norm=None,
            mel_scale="kaldi",
            triangularize_in_mel_space=True,
        )
        hann_S = torch.hann_window(FRAME, periodic=False, dtype=torch.float64)
        change_CS = frame_change(hann_S**0.85 if window == "povey" else hann_S)
        self.power = MelPower(change_CS, HOP, LENGTH, torch.from_numpy(filters).float().T)

    def forward(self, waveform_BS: Tensor) -> Tensor:
        band_BMN: Tensor = self.power(waveform_BS * self.scale)
        return band_BMN.clamp(min=FLOOR).log().transpose(1, 2)


class AudioSpectrogram(nn.Module):
    """ASTFeatureExtractor: waveform [B, S] -> [B, `frames`, bands], with zeros behind a shorter recording's filter bank and
    a longer one cut, and then less `mean`, over twice `std` where those are given."""

    def __init__(self, fbank: KaldiFbank, frames: int, mean: float | None = None, std: float | None = None) -> None:
        super().__init__()
        self.fbank, self.frames, self.mean, self.std = fbank, frames, mean, std

    def forward(self, waveform_BS: Tensor) -> Tensor:
        # As many zeros for every recording, then a cut: no size in it depends on the recording's.
        padded_BNM: Tensor = F.pad(self.fbank(waveform_BS), (0, 0, 0, self.frames))[:, : self.frames]
        if self.mean is None or self.std is None:
            return padded_BNM
        return (padded_BNM - self.mean) / (2 * self.std)


class UtteranceNormalization(nn.Module):
    """Speech2TextFeatureExtractor: each band of a recording to mean 0 and deviation 1, [B, N, M] -> the same shape."""

    #: Of a band that never changes, as in silence, transformers makes infinities or its own rounding; here it is 0.
    LEAST = 1e-3

    def __init__(self, fbank: KaldiFbank, means: bool, variances: bool) -> None:
        super().__init__()
        self.fbank, self.means, self.variances = fbank, means, variances

    def forward(self, waveform_BS: Tensor) -> Tensor:
        band_BNM: Tensor = self.fbank(waveform_BS)
        centred_BNM = band_BNM - band_BNM.mean(dim=1, keepdim=True)
        if not self.variances:
            return centred_BNM if self.means else band_BNM
        deviation_B1M = (centred_BNM * centred_BNM).mean(dim=1, keepdim=True).sqrt().clamp(min=self.LEAST)
        return (centred_BNM if self.means else band_BNM) / deviation_B1M


class StackedFrames(nn.Module):
    """SeamlessM4TFeatureExtractor: each band to mean 0 and variance 1, then `stride` frames as one: [B, N // stride, stride * M].

    Of an odd number of frames it masks the last pair, which is padded; here that pair is left out.
    """

    EPSILON = 1e-7

    def __init__(self, fbank: KaldiFbank, stride: int) -> None:
        super().__init__()
        self.fbank, self.stride = fbank, stride

    def forward(self, waveform_BS: Tensor) -> Tensor:
        band_BNM: Tensor = self.fbank(waveform_BS)
        centred_BNM = band_BNM - band_BNM.mean(dim=1, keepdim=True)
        # As torch and not as numpy counts: over one less than the frames.
        variance_B1M = (centred_BNM * centred_BNM).sum(dim=1, keepdim=True) / (band_BNM.shape[1] - 1)
        scaled_BNM = centred_BNM / (variance_B1M + self.EPSILON).sqrt()
        count = band_BNM.shape[1] // self.stride
        wide = self.stride * band_BNM.shape[2]
        return scaled_BNM[:, : count * self.stride].reshape(band_BNM.shape[0], count, wide)
