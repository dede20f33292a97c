"""Layers that several models have in common.

Tensor names end in the axes they have:
    B  batch              S  samples            F  frequencies        M  mel bands
    N  frames             T  tokens             K  the same T tokens, as keys and values
    D  width              H  heads              E  D/H, the size of a head (half of it, in cos and sin)
    C  places of a cache
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

WINDOW, HOP = 512, 160  # samples: 32 ms, every 10 ms at 16 kHz
BANDS = 40
LOWEST, HIGHEST = 80.0, 7600.0  # Hz
FLOOR = 1e-3  # 70 dB below a tone of full scale


def mel_weights(sample_rate: int, bands: int = BANDS, lowest: float = LOWEST, highest: float = HIGHEST) -> Tensor:
    """Triangles of height 1, evenly spaced in mel = 2595 log10(1 + f / 700) (HTK): float32 [bands, WINDOW / 2 + 1].

    Young et al., "The HTK Book" (version 3.4), section 5.4; there the triangles are, too, on the mel axis.
    """

    def mel(hertz: Tensor) -> Tensor:
        return 2595.0 * torch.log10(1.0 + hertz / 700.0)

    low, high = mel(torch.tensor([lowest, highest], dtype=torch.float64))
    corners = torch.linspace(float(low), float(high), bands + 2, dtype=torch.float64)
    at_F = mel(torch.arange(WINDOW // 2 + 1, dtype=torch.float64) * (sample_rate / WINDOW))
    rising_MF = (at_F - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling_MF = (corners[2:, None] - at_F) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising_MF, falling_MF).clamp(min=0).float()


class MelPower(nn.Module):
    """Waveform [B, S] -> power of each band in each frame [B, M, N], N = (S - window) // hop + 1, float32.

    A convolution, since no engine takes an STFT. `change_CS` [C, window], float64, is what is done to a frame before it is
    transformed (a window on its diagonal, whatever else is linear), `length` the length of the transform, which zeros fill up,
    and `weights_MF` weigh its length // 2 + 1 frequencies in each band. Nothing in it is trained.
    """

    def __init__(self, change_CS: Tensor, hop: int, length: int, weights_MF: Tensor) -> None:
        super().__init__()
        self.hop = hop
        # Frequencies that no band looks at are not computed.
        used = torch.nonzero(weights_MF.sum(0)).flatten()
        angle = 2 * math.pi / length * used[:, None].double() * torch.arange(len(change_CS), dtype=torch.float64)
        waves = torch.cat([torch.cos(angle), torch.sin(angle)]) @ change_CS
        # Buffers that no checkpoint holds: they are the definition, not the weights.
        self.register_buffer("waves", waves[:, None].float(), persistent=False)
        self.register_buffer("mel", weights_MF[:, used].contiguous(), persistent=False)

    def forward(self, waveform_BS: Tensor) -> Tensor:
        spectrum_B2FN = F.conv1d(waveform_BS.unsqueeze(1), self.get_buffer("waves"), stride=self.hop)
        real_BFN, imaginary_BFN = spectrum_B2FN.chunk(2, dim=1)
        return self.get_buffer("mel") @ (real_BFN * real_BFN + imaginary_BFN * imaginary_BFN)


class LogMel(nn.Module):
    """Waveform [B, S] -> log-mel spectrum [B, M, N], N = (S - WINDOW) // HOP + 1, float32. Nothing in it is trained.

    The spectrum is that of torch.stft(n_fft=512, hop_length=160, window=torch.hann_window(512), center=False), squared.
    What half precision needs of it:
        - No power overflows: for samples of -1..1 the squares of a frame's spectrum sum to at most
          512 * sum(window^2) / 2 = 49152 (Parseval), and a mel band is a weighted sum of them with weights of at most 1.
        - FLOOR is added before the logarithm. It is a normal number of float16, and about where what rounding to float16
          leaves of a loud tone begins.
        - An offset of the microphone has no effect: a constant lies in the lowest two frequencies of a Hann window alone,
          and the mel bands begin above those. Silence is FLOOR in every band.
    """

    def __init__(self, sample_rate: int, bands: int = BANDS) -> None:
        super().__init__()
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        self.power = MelPower(window.diag(), HOP, WINDOW, mel_weights(sample_rate, bands))

    def forward(self, waveform_BS: Tensor) -> Tensor:
        return torch.log(self.power(waveform_BS) + FLOOR)


def rotary_angles(length: int, head_size: int) -> Tensor:
    """How far each pair of a head's numbers is turned at each position: [length, head_size / 2], in radians."""
    frequency = torch.exp(torch.arange(0, head_size, 2) * (-math.log(10000.0) / head_size))
    return torch.arange(length)[:, None] * frequency


def turned(x_BHTE: Tensor, cos_TE: Tensor, sin_TE: Tensor) -> Tensor:
    """Rotary positions: number i and number i + E/2 are a pair, turned by the position. What two tokens that are turned so
    have in common depends on how far apart they are, and not on where (Su et al., "RoFormer", 2021)."""
    first, second = x_BHTE.chunk(2, dim=-1)
    return torch.cat([first * cos_TE - second * sin_TE, second * cos_TE + first * sin_TE], dim=-1)


class SelfAttention(nn.Module):
    """Every token attends to every token, `heads` times side by side: [B, T, D] -> the same shape.

    `bias_B11K` is added to the scores, such as a large negative number at padding. `rotary` is cos and sin [T, E] of
    `rotary_angles`, by which queries and keys are turned.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x_BTD: Tensor, bias_B11K: Tensor | None = None, rotary: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        # Each of the three [B, T, D] -> [B, H, T, E]: attention on four axes with heads in front is what engines fuse.
        query_BHTE, key_BHKE, value_BHKE = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x_BTD).chunk(3, dim=-1)
        )
        if rotary is not None:
            query_BHTE, key_BHKE = turned(query_BHTE, *rotary), turned(key_BHKE, *rotary)
        attended_BHTE = F.scaled_dot_product_attention(query_BHTE, key_BHKE, value_BHKE, attn_mask=bias_B11K)
        mixed_BTD: Tensor = self.out(attended_BHTE.transpose(1, 2).flatten(2))
        return mixed_BTD


class Block(nn.Module):
    """Attention, then two layers on every token by itself; each adds to what is there: [B, T, D] -> the same shape.

    `inner` is the width between those two layers; bias and rotary positions are `SelfAttention`'s.
    """

    def __init__(self, width: int, heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x_BTD: Tensor, bias_B11K: Tensor | None = None, rotary: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        x_BTD = x_BTD + self.dropout(self.attention(self.norm1(x_BTD), bias_B11K, rotary))
        mixed_BTD: Tensor = x_BTD + self.dropout(self.mlp(self.norm2(x_BTD)))
        return mixed_BTD


class Past(NamedTuple):
    """What the cache holds of one layer: which places are filled, and the keys and values there."""

    filled_BC: Tensor
    key_BHCE: Tensor
    value_BHCE: Tensor


def attend_to_past(
    query_BHTE: Tensor, key_BHTE: Tensor, value_BHTE: Tensor, past: Past, allowed_TT: Tensor | None
) -> Tensor:
    """Queries over the cache and the new keys, which are not in the cache yet: -> [B, H, T, E]. One token needs no `allowed`.

    The new key and value are not appended to the cached ones: that would copy the cache at every step. Only the scores,
    which are small, are put together for the softmax.
    """
    query_BHTE = query_BHTE * query_BHTE.shape[-1] ** -0.5
    past_score_BHTC = query_BHTE @ past.key_BHCE.transpose(2, 3)
    past_score_BHTC = torch.where(past.filled_BC[:, None, None], past_score_BHTC, -math.inf)
    if allowed_TT is None:
        new_score_BH11 = (query_BHTE * key_BHTE).sum(-1, keepdim=True)
        weight_BH1S = torch.cat([past_score_BHTC, new_score_BH11], dim=-1).softmax(-1)
        return weight_BH1S[..., :-1] @ past.value_BHCE + weight_BH1S[..., -1:] * value_BHTE
    new_score_BHTT = torch.where(allowed_TT, query_BHTE @ key_BHTE.transpose(2, 3), -math.inf)
    weight_BHTS = torch.cat([past_score_BHTC, new_score_BHTT], dim=-1).softmax(-1)
    places = past.key_BHCE.shape[2]
    return weight_BHTS[..., :places] @ past.value_BHCE + weight_BHTS[..., places:] @ value_BHTE
