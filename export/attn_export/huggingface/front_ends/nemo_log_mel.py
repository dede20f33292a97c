"""ParakeetFeatureExtractor: NeMo's log-mel spectrum, each band to mean 0 and deviation 1.

Source: transformers 5.23, models/parakeet/feature_extraction_parakeet.py; NeMo's AudioToMelSpectrogramPreprocessor.
"""

from __future__ import annotations

import torch
from attn_models.layers import MelPower
from torch import Tensor, nn
from torch.nn import functional as F


class NemoLogMel(nn.Module):
    """Waveform [B, S] -> [B, S // hop, M], float32. `filters` [M, length // 2 + 1] weigh the frequencies of each band;
    `emphasis` may be None.

    The extractor makes one frame more, which it masks; here that is left out.
    """

    #: Added to a band's power before the logarithm, and to its deviation.
    GUARD, EPSILON = 2.0**-24, 1e-5

    def __init__(self, filters: Tensor, window: int, length: int, hop: int, emphasis: float | None) -> None:
        super().__init__()
        self.length, self.emphasis = length, emphasis
        # A window that is shorter than the transform lies in its middle.
        before = (length - window) // 2
        hann_S = torch.hann_window(window, periodic=False, dtype=torch.float64)
        window_S = F.pad(hann_S, (before, length - window - before))
        self.power = MelPower(window_S.diag(), hop, length, filters.float())

    def forward(self, waveform_BS: Tensor) -> Tensor:
        if self.emphasis is not None:
            rest_BS = waveform_BS[:, 1:] - self.emphasis * waveform_BS[:, :-1]
            waveform_BS = torch.cat([waveform_BS[:, :1], rest_BS], dim=1)
        around = (self.length // 2, self.length // 2)
        power_BMN = self.power(F.pad(waveform_BS, around))[..., :-1]
        band_BNM = (power_BMN + self.GUARD).log().transpose(1, 2)
        centred_BNM = band_BNM - band_BNM.mean(dim=1, keepdim=True)
        # As torch counts: over one less than the frames.
        variance_B1M = (centred_BNM * centred_BNM).sum(dim=1, keepdim=True) / (band_BNM.shape[1] - 1)
        scaled_BNM: Tensor = centred_BNM / (variance_B1M.sqrt() + self.EPSILON)
        return scaled_BNM
