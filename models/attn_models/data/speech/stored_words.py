"""A few spoken words as log-mel spectra, kept in the repository: training data where there is no speech synthesiser.

    python -m attn_models.data.speech.stored_words            # makes the file anew, from the synthesiser

The spectra are rounded to steps of STEP and compressed, to stay under 1 MB; a part of the words of `espeak`, with the
same speakers for training, validation and test. The model then trains without its front end, which holds no weights.
"""

from __future__ import annotations

import lzma
import sys
from pathlib import Path

import click
import numpy as np
import torch
from attn_runtime.cli.options import say
from attn_runtime.errors import AttnError, BundleError
from attn_runtime.files import write_file
from safetensors.numpy import load, save
from torch import Tensor
from torch.nn import functional as F

from ...layers import LogMel
from ...recipe import Inputs, Recipe, Split
from .espeak import LABELS, PARTS, SAMPLE_RATE, SILENCE
from .espeak import load as load_words

FILE = Path(__file__).with_name("spoken_words.safetensors.xz")
STEP = 0.5  # of the natural logarithm of power: 2 dB
_LOWEST = -7.0  # just below the logarithm of the spectrum's FLOOR
_TAKES = {"train": 900, "validation": 90, "test": 210}
_SILENT = 1 / 12


def write(path: Path = FILE) -> None:
    """Synthesise the words (or take them from the cache) and store the spectra of some."""
    front, tensors = LogMel(SAMPLE_RATE), {}
    for part, clips in load_words().items():
        # As many of each word, and as many speakers as that gives: the clips lie speaker by speaker.
        chosen = np.sort(np.linspace(0, len(clips.labels) - 1, _TAKES[part]).astype(int))
        with torch.no_grad():
            spectra = front(torch.from_numpy(clips.waveforms[chosen]).float() / 32768).numpy()
        tensors[f"{part}.spectra"] = np.round((spectra - _LOWEST) / STEP).clip(0, 255).astype(np.uint8)
        tensors[f"{part}.labels"] = clips.labels[chosen].astype(np.uint8)
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0, "pb": 0}]
    write_file(path, lzma.compress(save(tensors), filters=filters))


def disturbed(spectra: Tensor, generator: torch.Generator) -> Tensor:
    """Each log-mel spectrum [n, bands, frames] moved, louder or quieter, its bands louder or quieter, with noise."""
    count, bands, frames = spectra.shape

    def uniform(low: float, high: float, *size: int) -> Tensor:
        return torch.rand(count, *(size or (1, 1)), generator=generator) * (high - low) + low

    shift = torch.randint(-14, 15, (count, 1, 1), generator=generator)
    moved = spectra.gather(2, (torch.arange(frames) - shift).clamp(0, frames - 1).expand(count, bands, frames))
    level = uniform(-7, 0.5) + F.interpolate(uniform(-1, 1, 1, 5), bands, mode="linear").transpose(1, 2)
    # Noise: a smooth spectrum with the scatter that a short window gives it (of the logarithm of an exponential's sum).
    noise = F.interpolate(uniform(-1.5, 1.5, 1, 4), bands, mode="linear").transpose(1, 2) + uniform(-9, 0)
    noise = noise + 0.6 * torch.randn(count, bands, frames, generator=generator)
    return torch.logaddexp(moved + level, noise).clamp(min=_LOWEST)


def augment(inputs: Inputs, generator: torch.Generator) -> Inputs:
    return {"waveform": disturbed(inputs["waveform"], generator)}


def split(part: str, noise_seed: int | None) -> Split:
    """Stored spectra and silence; disturbed once and for all where a seed is given."""
    try:
        tensors = load(lzma.decompress(FILE.read_bytes()))
    except (OSError, lzma.LZMAError) as error:
        raise BundleError(
            f"stored words {FILE.name}: {error}; wheels are without training data: take the repository, or "
            "pip install espeakng-loader"
        ) from error
    spectra = torch.from_numpy(tensors[f"{part}.spectra"]).float() * STEP + _LOWEST
    targets = torch.from_numpy(tensors[f"{part}.labels"].astype(np.int64))
    silent = round(len(targets) * _SILENT / (1 - _SILENT))
    spectra = torch.cat([spectra, torch.full((silent, *spectra.shape[1:]), _LOWEST)])
    targets = torch.cat([targets, torch.full((silent,), LABELS.index(SILENCE))])
    order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(10))
    spectra, targets = spectra[order], targets[order]
    if noise_seed is not None:
        spectra = disturbed(spectra, torch.Generator().manual_seed(noise_seed))
    return Split({"waveform": spectra}, targets)


def recipe() -> Recipe:
    """How the keyword spotter is trained on stored spectra."""
    train, validation, test = (split(part, None if part == "train" else PARTS.index(part)) for part in PARTS)
    return Recipe(
        train=train,
        validation=validation,
        test=test,
        labels=LABELS,
        loss=F.cross_entropy,
        augment=augment,
        measure="recordings",
        epochs=40,
        batch_size=32,
        lr=2e-3,
    )


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=FILE, help="File to write.")
def main(out: Path) -> None:
    """Store the spectra of some spoken words."""
    try:
        write(out)
    except AttnError as error:
        say(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    say(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
