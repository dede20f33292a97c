"""Layers that models share: the log-mel spectrum against another's, in half precision too; attention by its definition."""

import math

import pytest
import torch
from attn_models.layers import (
    BANDS,
    FLOOR,
    HIGHEST,
    HOP,
    LOWEST,
    WINDOW,
    Block,
    LogMel,
    SelfAttention,
    mel_weights,
    rotary_angles,
    turned,
)

SAMPLE_RATE = SAMPLES = 16_000


@pytest.fixture(scope="module")
def front():
    return LogMel(SAMPLE_RATE)


def sounds() -> torch.Tensor:
    """Tones, noise, a sweep, clicks: [n, SAMPLES], full scale and quiet."""
    generator = torch.Generator().manual_seed(0)
    time = torch.arange(SAMPLES, dtype=torch.float64) / SAMPLE_RATE
    kinds = [
        torch.sin(2 * math.pi * 440 * time),
        torch.sin(2 * math.pi * (100 + 3500 * time) * time),
        torch.sign(torch.sin(2 * math.pi * 250 * time)),
        2 * torch.rand(SAMPLES, generator=generator, dtype=torch.float64) - 1,
        (torch.arange(SAMPLES) % 977 == 0).double(),
        0.001 * torch.sin(2 * math.pi * 3000 * time),
        torch.zeros(SAMPLES, dtype=torch.float64),
    ]
    return torch.stack(kinds)


def htk_filters() -> torch.Tensor:
    """The HTK Book's filter bank, filter by filter and frequency by frequency: [BANDS, WINDOW / 2 + 1], float64."""

    def mel(f: float) -> float:
        return 1127 * math.log(1 + f / 700)

    step = (mel(HIGHEST) - mel(LOWEST)) / (BANDS + 1)
    weights = torch.zeros(BANDS, WINDOW // 2 + 1, dtype=torch.float64)
    for band in range(BANDS):
        centre = mel(LOWEST) + (band + 1) * step
        for k in range(WINDOW // 2 + 1):
            weights[band, k] = max(0.0, 1 - abs(mel(k * SAMPLE_RATE / WINDOW) - centre) / step)
    return weights


def test_the_mel_filters_are_htks():
    torch.testing.assert_close(mel_weights(SAMPLE_RATE).double(), htk_filters(), atol=2e-6, rtol=0)


def test_every_mel_band_looks_at_something_and_its_neighbours_overlap():
    weights = mel_weights(SAMPLE_RATE)
    assert (weights.sum(1) > 0.5).all()
    assert ((weights[1:] > 0) & (weights[:-1] > 0)).any(1).all()


@torch.no_grad()
def test_the_spectrum_is_that_of_torch_stft(front):
    wave = sounds()
    window = torch.hann_window(WINDOW, dtype=torch.float64)
    stft = torch.stft(wave, WINDOW, HOP, window=window, center=False, return_complex=True)
    expected = torch.log(htk_filters() @ stft.abs().square() + FLOOR)
    got = front(wave.float())
    assert got.shape == expected.shape == (len(wave), BANDS, (SAMPLES - WINDOW) // HOP + 1)
    torch.testing.assert_close(got.double(), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_silence_and_an_offset(front):
    silence = front(torch.zeros(1, SAMPLES))
    torch.testing.assert_close(silence, torch.full_like(silence, math.log(FLOOR)))
    torch.testing.assert_close(front(torch.full((1, SAMPLES), 0.5)), silence, atol=1e-3, rtol=0)
    tone = 0.3 * sounds()[:1].float()
    torch.testing.assert_close(front(tone + 0.5), front(tone), atol=0.02, rtol=0)


@torch.no_grad()
def test_half_precision_neither_overflows_nor_loses_the_quiet(front):
    wave = sounds().float()
    spectrum = torch.nn.functional.conv1d(wave[:, None], front.power.waves, stride=HOP)
    power = sum(part.square() for part in spectrum.chunk(2, 1))
    bands = front.power.mel @ power
    assert power.max() > 5000, "the loudest is loud"
    for tensor in (spectrum, power, bands):
        assert tensor.abs().max() < 0.8 * torch.finfo(torch.float16).max
    assert torch.finfo(torch.float16).smallest_normal < FLOOR
    # Everything rounded to float16 on the way, as an engine may.
    half = (
        torch.nn.functional.conv1d(wave.half().float()[:, None], front.power.waves.half().float(), stride=HOP)
        .half()
        .float()
    )
    power = sum(part.square().half().float() for part in half.chunk(2, 1)).half().float()
    log = torch.log((front.power.mel.half().float() @ power).half().float() + torch.tensor(FLOOR).half().float())
    off = (log - front(wave)).abs()
    assert off[:4].mean() < 0.05  # what is loud
    assert off[-1].max() < 0.02  # silence


def test_no_wave_of_full_scale_can_overflow():
    window = torch.hann_window(WINDOW, dtype=torch.float64)
    assert WINDOW * window.square().sum() / 2 == pytest.approx(49152)


@torch.no_grad()
@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_attention_is_what_its_definition_says_head_by_head(bias, rotary):
    torch.manual_seed(2)
    layer = SelfAttention(16, heads=2).double()
    x = torch.randn(1, 5, 16, dtype=torch.float64)
    seen = torch.tensor([True, True, True, True, not bias])
    angle = rotary_angles(5, 8).double() * rotary
    answer = layer(
        x,
        torch.where(seen, 0.0, -1e4).double()[None, None, None] if bias else None,
        (angle.cos(), angle.sin()) if rotary else None,
    )
    query, key, value = layer.qkv(x[0]).chunk(3, -1)
    heads = []
    for head in range(2):
        part = slice(8 * head, 8 * head + 8)
        scores = torch.empty(5, 5, dtype=torch.float64)
        for i in range(5):
            for j in range(5):
                # Pairs as complex numbers: the score depends on the difference of the positions.
                q = torch.complex(query[i, part][:4], query[i, part][4:])
                k = torch.complex(key[j, part][:4], key[j, part][4:])
                scores[i, j] = (q * k.conj() * torch.polar(torch.ones(4).double(), angle[i] - angle[j])).real.sum()
        heads.append((scores / 8**0.5)[:, seen].softmax(-1) @ value[seen, part])
    torch.testing.assert_close(answer[0], layer.out(torch.cat(heads, -1)))


def test_turning_keeps_lengths():
    x, angle = torch.randn(2, 3, 7, 8), rotary_angles(7, 8)
    torch.testing.assert_close(turned(x, angle.cos(), angle.sin()).norm(dim=-1), x.norm(dim=-1))


@torch.no_grad()
def test_a_block_adds_attention_and_then_two_layers():
    torch.manual_seed(3)
    block, x = Block(8, heads=2, inner=12, dropout=0.5).eval(), torch.randn(2, 3, 8)
    bias, rotary = torch.randn(2, 1, 1, 3), (rotary_angles(3, 4).cos(), rotary_angles(3, 4).sin())
    between = x + block.attention(block.norm1(x), bias, rotary)
    torch.testing.assert_close(block(x, bias, rotary), between + block.mlp(block.norm2(between)))
    assert block.mlp[0].out_features == 12
