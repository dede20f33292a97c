"""From a recording to the waveform that an audio model takes. Training uses the same code.

A recipe is a bundle's `audio` asset: {"input", "sample_rate"}, and "pad" and "cut", which say how a recording of another
length is fitted in. The samples are averaged over the channels, resampled to `sample_rate`, and come out as float32
[1, samples], full scale -1..1. How many samples there may be is the graph's to say. Nothing is made louder or quieter. Silence
is a recording like any other.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .resampling import resample
from .wav import read_wav

#: That resampling may make: a header that lies of its rate could ask for any number.
MAX_SAMPLES = 1 << 28


@dataclass(frozen=True)
class Waveform:
    """`samples` float32 [1, samples]; `notes` say, a line each, what was done to the recording to fit it in."""

    samples: NDArray[np.float32]
    notes: tuple[str, ...] = ()


def load_audio(file: str | os.PathLike[str] | bytes, recipe: Mapping[str, Any], least: int, most: int) -> Waveform:
    """The WAV file `file`, or its content, as the model takes it, of `least` to `most` samples.

    "-", /dev/stdin and /dev/fd/N are read until their writer closes them.
    A shorter recording is padded with zeros on both sides ("pad": "end": behind it), of a longer one the loudest stretch is
    taken ("cut": "end": the first); notes tell.
    Raises InputError for a file that is no recording.
    """
    recording = read_wav(file)
    made = prepare(recording.samples, recording.rate, recipe, least, most)
    return replace(made, notes=recording.notes + made.notes)


def load_whole(file: str | os.PathLike[str] | bytes, recipe: Mapping[str, Any]) -> Waveform:
    """As `load_audio`, the recording as long as it is."""
    recording = read_wav(file)
    made = at_rate(recording.samples, recording.rate, int(recipe["sample_rate"]))
    return replace(made, notes=recording.notes + made.notes)


def prepare(samples: NDArray[np.float32], rate: int, recipe: Mapping[str, Any], least: int, most: int) -> Waveform:
    """As `load_audio`, of float32 [frames] or [frames, channels] at `rate` Hz."""
    to = int(recipe["sample_rate"])
    made = at_rate(samples, rate, to)
    samples, notes = made.samples[0], list(made.notes)
    if len(samples) > most:
        first = recipe.get("cut") == "end"
        start = 0 if first else loudest(samples, most)
        notes.append(
            f"{len(samples) / to:.2f} s long, the model takes {most / to:.2f} s: the {'first' if first else 'loudest'} part is "
            f"used, {start / to:.2f} to {(start + most) / to:.2f} s"
        )
        samples = samples[start : start + most]
    elif len(samples) < least:
        notes.append(f"{len(samples) / to:.2f} s long, padded with silence to {least / to:.2f} s")
        samples = centred(samples, least) if recipe.get("pad") != "end" else np.pad(samples, (0, least - len(samples)))
    return Waveform(np.ascontiguousarray(samples, np.float32)[None], tuple(notes))


def at_rate(samples: NDArray[np.float32], rate: int, to: int) -> Waveform:
    """The recording whole: float32 [frames] or [frames, channels] at `rate` Hz -> [1, samples] at `to` Hz."""
    notes: list[str] = []
    if samples.ndim == 2:
        channels = samples.shape[1]
        if channels > 1:
            notes.append(f"{channels} channels are averaged into one")
        samples = samples.mean(axis=1, dtype=np.float64).astype(np.float32)
    beyond = int((np.abs(samples) > 1).sum())
    if beyond:
        notes.append(f"{beyond} samples beyond full scale are clipped")
        samples = np.clip(samples, -1, 1)
    if rate != to:
        if max(MAX_SAMPLES, len(samples)) * rate < len(samples) * to:
            raise InputError(
                f"recording: {len(samples)} samples at {rate} Hz would be more than {MAX_SAMPLES} at {to} Hz. Cut it."
            )
        notes.append(f"resampled from {rate} Hz to {to} Hz")
        # The sinc overshoots at an edge of full scale.
        samples = np.clip(resample(samples, rate, to), -1, 1)
    return Waveform(np.ascontiguousarray(samples, np.float32)[None], tuple(notes))


def centred(samples: NDArray[np.float32], length: int) -> NDArray[np.float32]:
    """`samples` in the middle of `length`, zeros around; where the zeros are odd in number, one more behind."""
    before = (length - len(samples)) // 2
    return np.pad(samples, (before, length - len(samples) - before))


def loudest(samples: NDArray[np.float32], length: int) -> int:
    """Where the `length` samples of most power (less its mean) start; the first of several that are equal."""
    power = (samples.astype(np.float64) - samples.mean(dtype=np.float64)) ** 2
    sums = np.concatenate([[0.0], np.cumsum(power)])
    windows = sums[length:] - sums[:-length]
    # Sums of many samples differ by rounding; the first that is as good as the best is taken.
    return int(np.argmax(windows >= windows.max() - 1e-9 * max(sums[-1], 1e-30)))
