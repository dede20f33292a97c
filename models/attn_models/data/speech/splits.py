"""The spoken words as training data: splits, noise, and the recipe of the keyword spotter.

Waveforms where the words can be synthesised (`espeak`); else the stored log-mel spectra (`stored_words`), which skip the
front end of the model and can be disturbed less.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from attn_runtime.errors import UsageError
from torch import Tensor
from torch.nn import functional as F

from ...recipe import Inputs, Recipe, Split
from .espeak import LABELS, SAMPLES, SILENCE, Clips, load

#: Of all samples of a part, how many are silence: there is nothing to synthesise for it.
_SILENT = 1 / 12
_SHIFT = 2400  # samples: a word is up to 0.15 s off the middle
_SEEDS = {"validation": 11, "test": 12}


def disturbed(waveforms: Tensor, generator: torch.Generator, voices: bool = False) -> Tensor:
    """Each clip [n, SAMPLES] (int16, or float of -1..1) as a microphone may hear it: float32 [n, SAMPLES].

    Moved by up to 0.15 s, at a level of -36 to 0 dB of full scale, with noise between white and brown at 0 to 50 dB below
    the word, and an offset of up to 5 %. With `voices` the speaker is another one, too: see `_another_voice`. A clip of zeros
    gets noise of -90 to -12 dB, or stays silent (one in eight).
    """
    clips = waveforms.float() / 32768 if waveforms.dtype == torch.int16 else waveforms
    count, samples = clips.shape

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, 1, generator=generator) * (high - low) + low

    shift = uniform(-_SHIFT, _SHIFT)
    clips = _another_voice(clips, shift, uniform) if voices else _stretched(clips, shift, torch.ones(count, 1))
    peak = clips.abs().amax(1, keepdim=True)
    silent = peak == 0
    clips = clips / peak.clamp(min=1e-6) * 10 ** (uniform(-36, -1) / 20)

    # Noise whose power falls with frequency to a power of 0 (white) to 2 (brown), made in the frequency domain.
    bins = samples // 2 + 1
    slope = uniform(0, 2)
    spectrum = torch.randn(count, bins, 2, generator=generator)
    shaped = spectrum * (torch.arange(bins).clamp(min=8) ** (-slope / 2))[..., None]
    noise = torch.fft.irfft(torch.view_as_complex(shaped.contiguous()), n=samples)
    noise = noise / noise.square().mean(1, keepdim=True).sqrt()

    def rms(x: Tensor) -> Tensor:
        return x.square().mean(1, keepdim=True).sqrt()

    # The word fills about half of its second.
    below_word = 1.4 * rms(clips) * 10 ** (uniform(-50, 0) / 20)
    alone = 10 ** (uniform(-90, -12) / 20) * (uniform(0, 1) > 1 / 8)
    level = torch.where(silent, alone, below_word)
    offset = uniform(-0.05, 0.05)
    heard: Tensor = (clips + level * noise + offset).clamp(-1, 1)
    return heard


def _stretched(clips: Tensor, shift: Tensor, factor: Tensor) -> Tensor:
    """`factor` times as long and deeper by as much, about the middle, and `shift` samples later; both [n, 1]."""
    samples = clips.shape[1]
    middle = (samples - 1) / 2
    place = (torch.arange(samples) - middle - shift) / factor + middle
    left = place.floor()
    inside = (left >= 0) & (left < samples - 1)
    index = left.clamp(0, samples - 2).long()
    near = place - left
    moved: Tensor = (clips.gather(1, index) * (1 - near) + clips.gather(1, index + 1) * near) * inside
    return moved


def _another_voice(clips: Tensor, shift: Tensor, uniform: Callable[[float, float], Tensor]) -> Tensor:
    """A head of another size (0.75 to 1.35 times), and another timbre: a gain of up to 9 dB that waves over the spectrum."""
    clips = _stretched(clips, shift, uniform(0.75, 1.35))
    spectrum = torch.fft.rfft(clips)
    pitch = torch.linspace(0, 1, spectrum.shape[1]).sqrt()  # waves are wider where hearing is coarser
    gain = sum(uniform(0, 4.5) * torch.sin(2 * torch.pi * (uniform(0.5, 4) * pitch + uniform(0, 1))) for _ in range(2))
    other: Tensor = torch.fft.irfft(spectrum * 10 ** (gain / 20), n=clips.shape[1])
    return other


def augment(inputs: Inputs, generator: torch.Generator) -> Inputs:
    return {"waveform": disturbed(inputs["waveform"], generator, voices=True)}


def split(clips: Clips, noise_seed: int | None) -> Split:
    """Clips and silence. With a seed the clips are disturbed once and for all, as validation and test need it."""
    silent = round(len(clips.labels) * _SILENT / (1 - _SILENT))
    waveforms = torch.cat([torch.from_numpy(clips.waveforms), torch.zeros(silent, SAMPLES, dtype=torch.int16)])
    targets = torch.cat([torch.from_numpy(clips.labels), torch.full((silent,), LABELS.index(SILENCE))])
    # Mixed, so that the first samples, which a quick trial takes, are of all kinds.
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(10))
    waveforms, targets = waveforms[order], targets[order]
    if noise_seed is not None:
        waveforms = disturbed(waveforms, torch.Generator().manual_seed(noise_seed))
    return Split({"waveform": waveforms}, targets)


def recipe() -> Recipe:
    """Of waveforms where there is a synthesiser, else of the stored spectra."""
    try:
        parts = load()
    except UsageError:
        from . import stored_words

        return stored_words.recipe()
    return Recipe(
        train=split(parts["train"], None),
        validation=split(parts["validation"], _SEEDS["validation"]),
        test=split(parts["test"], _SEEDS["test"]),
        labels=LABELS,
        loss=F.cross_entropy,
        augment=augment,
        measure="recordings",
        epochs=12,
        batch_size=64,
        lr=2e-3,
    )
