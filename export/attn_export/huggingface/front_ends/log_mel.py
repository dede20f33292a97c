"""Log-mel spectra: WhisperFeatureExtractor's, of a window of fixed length, and LasrFeatureExtractor's.

Source: transformers 5.23, models/whisper/feature_extraction_whisper.py and models/lasr/feature_extraction_lasr.py,
`_torch_extract_fbank_features` of both; Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision" (2022),
section 2.2.
"""

from __future__ import annotations

import torch
from attn_models.layers import MelPower
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F


class WhisperLogMel(nn.Module):
    """Waveform [B, S] -> [B, M, S // hop], float32, cut 8 decades below the loudest band.

    `filters` [length // 2 + 1, M] weigh the frequencies of each band.
    """

    #: The least power, and how far below the loudest band of a row, in log10, a band may lie; what is less is raised to there.
    FLOOR, RANGE = 1e-10, 8.0

    def __init__(self, filters: NDArray, length: int, hop: int) -> None:  # type: ignore[type-arg]
        super().__init__()
        self.length = length
        window = torch.hann_window(length, dtype=torch.float64)
        self.power = MelPower(window.diag(), hop, length, torch.from_numpy(filters).float().T)

    def forward(self, waveform_BS: Tensor) -> Tensor:
        # Frames are centred on multiples of the hop: the ends are mirrored. The last frame is dropped, as Whisper does.
        around = (self.length // 2, self.length // 2)
        mirrored_BS = F.pad(waveform_BS.unsqueeze(1), around, mode="reflect").squeeze(1)
        log_BMN = self.power(mirrored_BS)[..., :-1].clamp(min=self.FLOOR).log10()
        loudest_B11 = log_BMN.amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(log_BMN, loudest_B11 - self.RANGE) + 4.0) / 4.0


class LasrLogMel(nn.Module):
    """Waveform [B, S] -> [B, N, M], N = (S - window) // hop + 1, float32. `filters` [length // 2 + 1, M]."""

    #: The least power.
    FLOOR = 1e-5

    def __init__(self, filters: Tensor, window: int, length: int, hop: int) -> None:
        super().__init__()
        hann = torch.hann_window(window, periodic=False, dtype=torch.float64)
        self.power = MelPower(hann.diag(), hop, length, filters.float().T)

    def forward(self, waveform_BS: Tensor) -> Tensor:
        band_BMN: Tensor = self.power(waveform_BS)
        return band_BMN.clamp(min=self.FLOOR).log().transpose(1, 2)
