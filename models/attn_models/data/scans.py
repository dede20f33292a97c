"""Scans to train on, drawn by a rule: a body with texture, noise and what is normal in it; some have a lesion.

No patient is in them, and a model trained on them reads no real scan. What they share with real ones: the lesion is
faint, of varying size, and rare, and what is normal can look like it. Normal organs come in pairs, one on either side of
the body's axis. A lesion has no partner; it is mostly larger than an organ.

python -m attn_models.data.scans OUT --count N    writes such scans as a folder of PNG files by class
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

LABELS = ("none", "lesion")
SIZE = 64
LESION_SHARE = 0.2

Floats = NDArray[np.float32]


def draw(count: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Scans [count, 64, 64] of grey levels, and 1 for those with a lesion. The same for the same seed, scan by scan:
    more of them begin with the fewer."""
    children = np.random.SeedSequence(seed).spawn(count)
    drawn = [_scan(np.random.Generator(np.random.PCG64(child))) for child in children]
    return np.stack([image for image, _ in drawn]), np.array([target for _, target in drawn], np.int64)


def _scan(random: np.random.Generator) -> tuple[NDArray[np.uint8], int]:
    lesion = int(random.random() < LESION_SHARE)
    # Coordinates -1..1 in the body's own frame: it lies a little off centre and turned.
    angle, shift = random.normal(0, 0.08), random.normal(0, 0.04, 2)
    y, x = _grid()
    x, y = x - shift[0], y - shift[1]
    along, across = np.cos(angle) * y - np.sin(angle) * x, np.cos(angle) * x + np.sin(angle) * y
    width, height = random.uniform(0.75, 0.9), random.uniform(0.8, 0.92)
    distance = np.sqrt((across / width) ** 2 + (along / height) ** 2)
    body = 1 / (1 + np.exp((distance - 1) * 30))

    tissue = random.uniform(0.38, 0.5) + 0.04 * _smooth(random, 12) + 0.03 * _smooth(random, 3)
    pairs = int(random.random() < 0.7)
    places = _places(random, lesion + pairs)
    for number, (side, up) in enumerate(places):
        radius = random.uniform(0.10, 0.18) if number < lesion else random.uniform(0.06, 0.11)
        contrast = random.uniform(0.2, 0.36)
        sides = (float(random.choice([-1, 1])),) if number < lesion else (-1.0, 1.0)
        for sign in sides:
            there, high = side + random.normal(0, 0.015), up + random.normal(0, 0.015)
            squared = (across - sign * there) ** 2 + (along - high) ** 2
            tissue = tissue + contrast * random.uniform(0.9, 1.1) * np.exp(-squared / (2 * (0.6 * radius) ** 2))
    for _ in range(random.integers(1, 4)):  # vessels: thin and bright, from edge to edge
        turn, offset = random.uniform(0, np.pi), random.uniform(-0.6, 0.6)
        line = np.abs(np.cos(turn) * across + np.sin(turn) * along - offset + 0.1 * np.sin(4 * along))
        tissue = tissue + random.uniform(0.05, 0.15) * np.exp(-((line / 0.03) ** 2))
    field = 1 + random.uniform(-0.15, 0.15) * x + random.uniform(-0.15, 0.15) * y  # uneven sensitivity of the coil
    values = 0.05 + body * tissue * field + 0.03 * random.standard_normal((SIZE, SIZE))
    return np.clip(np.abs(values) * 255, 0, 255).round().astype(np.uint8), lesion


def _places(random: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """Points (distance from the axis, height along it) of one half of the body, no two near each other."""
    found: list[tuple[float, float]] = []
    while len(found) < count:
        side, up = random.uniform(0.2, 0.6), random.uniform(-0.6, 0.6)
        if side**2 + up**2 < 0.4 and all(np.hypot(side - a, up - b) > 0.38 for a, b in found):
            found.append((float(side), float(up)))
    return found


def _smooth(random: np.random.Generator, scale: int) -> Floats:
    """Noise with structures of about `scale` pixels, of deviation 1."""
    spectrum = np.fft.rfft2(random.standard_normal((SIZE, SIZE)))
    values = np.fft.irfft2(spectrum * _low_pass(scale), (SIZE, SIZE))
    smooth: Floats = (values / values.std()).astype(np.float32)
    return smooth


@cache
def _grid() -> tuple[Floats, Floats]:
    """Row and column of each pixel, -1..1; not to be written to."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, SIZE, dtype=np.float32)] * 2, indexing="ij")
    return y, x


@cache
def _low_pass(scale: int) -> NDArray[np.float64]:
    """What a spectrum is multiplied by; not to be written to."""
    rows, columns = np.fft.fftfreq(SIZE)[:, None], np.fft.rfftfreq(SIZE)[None]
    lowered: NDArray[np.float64] = np.exp(-2 * (np.pi * scale / 2) ** 2 * (rows**2 + columns**2))
    return lowered


def write_folder(folder: Path, count: int, seed: int) -> dict[str, int]:
    """Write `count` scans as FOLDER/CLASS/NUMBER.png; returns how many of each class. Raises UsageError, OutputError."""
    from attn_runtime.errors import OutputError, UsageError
    from PIL import Image

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: is there already and not empty; choose another folder")
    images, targets = draw(count, seed)
    try:
        for label in LABELS:
            (folder / label).mkdir(parents=True, exist_ok=True)
        for number, (image, target) in enumerate(zip(images, targets, strict=True)):
            Image.fromarray(image).save(folder / LABELS[target] / f"{number:05d}.png")
    except OSError as error:
        raise OutputError(f"{folder}: can't be written ({error.strerror or error}); choose another folder") from error
    return {label: int((targets == number).sum()) for number, label in enumerate(LABELS)}


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--count", type=click.IntRange(1), default=1000, show_default=True, help="How many scans.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
def main(out: Path, count: int, seed: int) -> None:
    """Write drawn scans to the folder OUT, as OUT/lesion/*.png and OUT/none/*.png."""
    import sys

    from attn_runtime.cli.options import say
    from attn_runtime.errors import AttnError

    try:
        written = write_folder(out, count, seed)
    except AttnError as error:
        say(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    say(f"{out}: " + ", ".join(f"{number} {label}" for label, number in written.items()))


if __name__ == "__main__":
    main()
