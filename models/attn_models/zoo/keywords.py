"""Keyword spotting: which of a few words is spoken in a second of sound, by self-attention over its spectrum.

The waveform goes in as it is. Its log-mel spectrum is made inside the graph, as a convolution, so that whoever runs the model
needs no signal processing of his own, and can't do it differently.

Tensor names end in the axes they have:
    B  batch              S  samples            F  frequencies        M  mel bands
    N  frames, 10 ms      T  positions, 20 ms   D  width              K  the same T positions, as keys and values
    H  heads              E  D/H, the size of a head

The spectrum is that of torch.stft(n_fft=512, hop_length=160, window=torch.hann_window(512), center=False), squared.
What half precision needs of it:
    - No power overflows: for samples of -1..1 the squares of a frame's spectrum sum to at most 512 * sum(window^2) / 2 = 49152
      (Parseval), and a mel band is a weighted sum of them with weights of at most 1.
    - FLOOR is added before the logarithm. It is a normal number of float16, and about where what rounding to float16 leaves of
      a loud tone begins.
    - An offset of the microphone has no effect: a constant lies in the lowest two frequencies of a Hann window alone, and the
      mel bands begin above those. Silence is FLOOR in every band.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.speech.espeak import LABELS, SAMPLE_RATE, SAMPLES
from ..recipe import Recipe
from ..spec import AttentionAxis, AttentionSpec, GraphSpec, ModelSpec

WINDOW, HOP = 512, 160  # samples: 32 ms, every 10 ms
BANDS = 40
LOWEST, HIGHEST = 80.0, 7600.0  # Hz
FLOOR = 1e-3  # 70 dB below a tone of full scale


def mel_weights(bands: int, lowest: float, highest: float) -> Tensor:
    """Triangles of height 1, evenly spaced in mel = 2595 log10(1 + f / 700) (HTK): [bands, WINDOW / 2 + 1].

    Young et al., "The HTK Book" (version 3.4), section 5.4; there the triangles are, too, on the mel axis.
    """

    def mel(hertz: Tensor) -> Tensor:
        return 2595.0 * torch.log10(1.0 + hertz / 700.0)

    low, high = mel(torch.tensor([lowest, highest], dtype=torch.float64))
    corners = torch.linspace(float(low), float(high), bands + 2, dtype=torch.float64)
    at_F = mel(torch.arange(WINDOW // 2 + 1, dtype=torch.float64) * (SAMPLE_RATE / WINDOW))
    rising_MF = (at_F - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling_MF = (corners[2:, None] - at_F) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising_MF, falling_MF).clamp(min=0).float()


class LogMel(nn.Module):
    """Waveform [B, S] -> log-mel spectrum [B, M, N], N = (S - WINDOW) // HOP + 1. Nothing in it is trained."""

    def __init__(self, bands: int = BANDS) -> None:
        super().__init__()
        weights_MF = mel_weights(bands, LOWEST, HIGHEST)
        # Frequencies that no band looks at are not computed.
        used = torch.nonzero(weights_MF.sum(0)).flatten()
        angle = 2 * math.pi / WINDOW * used[:, None].double() * torch.arange(WINDOW, dtype=torch.float64)
        window = torch.hann_window(WINDOW, dtype=torch.float64)
        waves = torch.cat([torch.cos(angle), torch.sin(angle)]) * window
        # Buffers that no checkpoint holds: they are the definition, not the weights.
        self.register_buffer("waves", waves[:, None].float(), persistent=False)
        self.register_buffer("mel", weights_MF[:, used].contiguous(), persistent=False)

    def forward(self, waveform_BS: Tensor) -> Tensor:
        waves, mel_MF = self.get_buffer("waves"), self.get_buffer("mel")
        spectrum_B2FN = F.conv1d(waveform_BS.unsqueeze(1), waves, stride=HOP)
        real_BFN, imaginary_BFN = spectrum_B2FN.chunk(2, dim=1)
        power_BFN = real_BFN * real_BFN + imaginary_BFN * imaginary_BFN
        return torch.log(mel_MF @ power_BFN + FLOOR)


class SelfAttention(nn.Module):
    """Every position attends to every position, `heads` times side by side: [B, T, D] -> the same shape."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        query_BHTE, key_BHKE, value_BHKE = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x_BTD).chunk(3, dim=-1)
        )
        attended_BHTE = F.scaled_dot_product_attention(query_BHTE, key_BHKE, value_BHKE)
        mixed_BTD: Tensor = self.out(attended_BHTE.transpose(1, 2).flatten(2))
        return mixed_BTD


class Block(nn.Module):
    """Attention, then two layers on every position by itself; each adds to what is there: [B, T, D] -> the same shape."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x_BTD: Tensor) -> Tensor:
        x_BTD = x_BTD + self.dropout(self.attention(self.norm1(x_BTD)))
        mixed_BTD: Tensor = x_BTD + self.dropout(self.mlp(self.norm2(x_BTD)))
        return mixed_BTD


class AttentionPooling(nn.Module):
    """A learned question to all positions, answered by each head with a weighted mean: [B, T, D] -> [B, D]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.question = nn.Parameter(torch.randn(1, heads, 1, width // heads))
        # No bias on the keys: it would add the same to all scores of the one question.
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)

    def forward(self, x_BTD: Tensor) -> Tensor:
        key_BHKE, value_BHKE = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.key(x_BTD), self.value(x_BTD))
        )
        question_BH1E = self.question.expand(x_BTD.shape[0], -1, -1, -1)
        return F.scaled_dot_product_attention(question_BH1E, key_BHKE, value_BHKE).flatten(1)


class KeywordNet(nn.Module):
    """Waveform [B, samples] float32, -1..1, at SAMPLE_RATE -> logits [B, classes].

    A log-mel spectrum [B, BANDS, N] is taken in place of the waveform it was made from; training without a synthesiser
    does that. `samples` is fixed: a place in the second is a learned vector.
    """

    def __init__(
        self,
        classes: int = len(LABELS),
        samples: int = SAMPLES,
        width: int = 96,
        heads: int = 4,
        depth: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise UsageError(f"width {width}: expected a multiple of heads, {heads}")
        if samples < WINDOW:
            raise UsageError(f"samples {samples}: expected {WINDOW}, one frame, or more")
        frames = (samples - WINDOW) // HOP + 1
        self.spectrum = LogMel()
        # Sounds are local: what neighbouring frames have to do with each other is found by convolution.
        self.sounds = nn.Sequential(
            nn.Conv1d(BANDS, width, 5, stride=2, padding=2, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Conv1d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        )
        self.places = nn.Parameter(0.02 * torch.randn(1, (frames + 1) // 2, width))
        self.blocks = nn.ModuleList(Block(width, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pooling = AttentionPooling(width, heads)
        self.head = nn.Linear(width, classes)

    def forward(self, waveform: Tensor) -> Tensor:
        spectrum_BMN = waveform if waveform.ndim == 3 else self.spectrum(waveform)
        # Powers span 1e-3..1e4; this brings their logarithms to about -1..1.
        x_BDT = self.sounds(0.2 * spectrum_BMN + 0.5)
        x_BTD = x_BDT.transpose(1, 2) + self.places
        for block in self.blocks:
            x_BTD = block(x_BTD)
        logits: Tensor = self.head(self.pooling(self.norm(x_BTD)))
        return logits


def assets() -> dict[str, Any]:
    return {"labels.json": list(LABELS), "audio.json": {"input": "waveform", "sample_rate": SAMPLE_RATE}}


def recipe() -> Recipe:
    """How it is trained on synthesised words, or on stored spectra of them where there is no synthesiser."""
    from ..data.speech import splits

    return splits.recipe()


MODEL = ModelSpec(
    name="keywords",
    task="audio-classification",
    summary="keyword spotter: log-mel spectrum inside the graph, convolution, self-attention, attention pooling",
    build=KeywordNet,
    graphs=(
        GraphSpec(
            "model",
            inputs=(
                TensorSpec(
                    "waveform",
                    "float32",
                    (Dim("batch", 1, 8, 32), Dim.fixed(SAMPLES)),
                    meaning=f"one second of sound, mono, {SAMPLE_RATE} Hz, full scale -1..1",
                ),
            ),
            outputs=(
                TensorSpec(
                    "logits",
                    "float32",
                    (Dim("batch", 1, 8, 32), Dim.fixed(len(LABELS))),
                    meaning="score of each word",
                ),
            ),
        ),
    ),
    assets=assets,
    recipe=recipe,
    attention=(
        AttentionSpec(
            r"blocks\.\d+\.attention",
            query=AttentionAxis("frames", seconds=2 * HOP / SAMPLE_RATE),
            key=AttentionAxis("frames", seconds=2 * HOP / SAMPLE_RATE),
        ),
        AttentionSpec(
            "pooling", query=AttentionAxis("index"), key=AttentionAxis("frames", seconds=2 * HOP / SAMPLE_RATE)
        ),
    ),
)
