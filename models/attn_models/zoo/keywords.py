"""Keyword spotting: which of a few words is spoken in a second of sound, by self-attention over its spectrum.

The waveform goes in as it is. Its log-mel spectrum is made inside the graph, as a convolution, so that whoever runs the model
needs no signal processing of his own, and can't do it differently.

Tensor names end in the axes they have:
    B  batch              M  mel bands          N  frames, 10 ms      D  width
    T  positions, 20 ms   K  the same T positions, as keys and values
    H  heads              E  D/H, the size of a head
"""

from __future__ import annotations

from typing import Any

import torch
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec, Values
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.speech import LABELS, SAMPLE_RATE, SAMPLES
from ..layers import BANDS, HOP, WINDOW, Block, LogMel
from ..recipe import Recipe
from ..spec import AttentionAxis, AttentionSpec, GraphSpec, ModelSpec


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
        self.spectrum = LogMel(SAMPLE_RATE)
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
        self.blocks = nn.ModuleList(Block(width, heads, 2 * width, dropout) for _ in range(depth))
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
                    values=Values("normal", 0.0, 0.1, -1.0, 1.0),  # speech is about 20 dB below full scale
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
