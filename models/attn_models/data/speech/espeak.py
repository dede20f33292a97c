"""Spoken words, synthesised: short recordings of many voices, for training and testing a keyword spotter.

    python -m attn_models.data.speech.espeak            # writes the words to the cache, and tells where

The synthesiser is eSpeak NG (https://github.com/espeak-ng/espeak-ng), a formant synthesiser, from the package
`espeakng_loader` or from the system. Its voices differ in vocal tract, pitch, accent and manner, and are clearly no people:
a model trained on them is a working example, not a product. Voices, one accent and some of the unknown words are kept for
the test, so that accuracy is that on speakers never heard.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import hashlib
import json
import math
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from attn_runtime.cli.options import say
from attn_runtime.errors import AttnError, OutputError, StageError, UsageError
from attn_runtime.preprocess import centred, resample
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
SAMPLES = 16_000  # of a clip: one second

WORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
UNKNOWN, SILENCE = "unknown", "silence"
LABELS = (*WORDS, UNKNOWN, SILENCE)

PARTS = ("train", "validation", "test")

#: Voice variants of eSpeak NG, each in one part only. Training has further ones: see `made_up_voice`.
SPEAKERS = {
    "train": "m1 m2 m3 m4 m6 f1 f2 f4 Alex Andrea Andy Annie Denis Gene Hugo Jacky Lee Mike Reed adam anika aunty belinda "
    "boris caleb ed edward grandma ian john linda marcelo max pablo paul quincy rob sandro steph victor klatt klatt3 "
    "AnxiousAndy Diogo Gene2 Henrique Mario Nguyen RicishayMax RicishayMax2 Tweaky UniRobot announcer croak edward2 fast "
    "gustave kaukovalta klatt5 klatt6 mike2 miguel norbert robosoft robosoft2 robosoft5 robosoft7 steph2 whisperf",
    "validation": "m5 f5 Michael david iven klatt4",
    "test": "m7 m8 f3 Alicia Marco Storm antonio benjamin grandpa michel pedro robert shelby travis zac klatt2 whisper",
}
_ACCENTS = {
    "train": "en en-us en-gb-x-rp en-gb-scotland en-gb-x-gbclan en-us-nyc",
    "validation": "en en-us en-gb-x-gbcwmd",
    "test": "en en-us en-gb-x-rp en-gb-scotland en-gb-x-gbclan en-us-nyc en-029",
}
#: Of each word, for each speaker.
_TAKES = {"train": 2, "validation": 3, "test": 3}
#: None is a near-homophone of a word above ("lift", "know", "gone"): through noise nobody tells those apart. Those of the
#: training are the other words of Warden, "Speech Commands" (2018).
_OTHER_WORDS = {
    "train": "one two three four five six seven eight nine zero bed bird cat dog happy house marvin sheila tree wow follow "
    "forward backward learn visual",
    "validation": "water table music window",
    "test": "garden number weather station river yellow coffee doctor winter orange paper market summer animal",
}
#: Takes of unknown words, for each speaker.
_OTHER_TAKES = {"train": 4, "validation": 4, "test": 6}
_MADE_UP = 60
_SEED = 20
_AT_ONCE = 100
_MADE_UP_NAME = "made-up-"


@dataclass(frozen=True)
class Take:
    """One word to be spoken: `voice` as eSpeak NG names it, `speed` in words a minute, `pitch` and `range` 0..99."""

    part: str
    label: int
    text: str
    voice: str
    speed: int
    pitch: int
    range: int


def plan() -> list[Take]:
    """Every take, in order. Speed and pitch are drawn from a fixed seed."""
    draw = random.Random(_SEED)
    takes = []
    for part in PARTS:
        accents, others = _ACCENTS[part].split(), _OTHER_WORDS[part].split()
        made_up = [f"{_MADE_UP_NAME}{number}" for number in range(_MADE_UP)] if part == "train" else []
        for speaker in [*SPEAKERS[part].split(), *made_up]:
            wanted = [(WORDS.index(word), word) for word in WORDS for _ in range(_TAKES[part])]
            wanted += [(LABELS.index(UNKNOWN), draw.choice(others)) for _ in range(_OTHER_TAKES[part])]
            for label, text in wanted:
                voice = f"{draw.choice(accents)}+{speaker}"
                takes.append(
                    Take(part, label, text, voice, draw.randint(110, 220), draw.randint(20, 80), draw.randint(20, 80))
                )
    return takes


def made_up_voice(number: int) -> str:
    """A voice file of eSpeak NG (docs/voices.md of its sources) for a speaker drawn at random, the same for each number.

    The vocal tract is 0.8 to 1.45 times as long, and each formant's place, height and width vary around that.
    """
    draw = random.Random(f"{_SEED} {number}")
    size, pitch = draw.uniform(0.8, 1.45), draw.randint(60, 260)
    lines = [
        "language variant",
        f"name {_MADE_UP_NAME}{number}",
        f"pitch {pitch} {round(pitch * draw.uniform(1.2, 1.7))}",
        f"voicing {draw.randint(40, 140)}",
        f"consonants {draw.randint(30, 180)} {draw.randint(30, 180)}",
        f"flutter {draw.randint(0, 5)}",
        f"roughness {draw.randint(0, 4)}",
    ]
    for formant in range(9):
        place = round(100 * size * draw.uniform(0.86, 1.16))
        lines.append(f"formant {formant} {place} {draw.randint(70, 150)} {draw.randint(80, 160)}")
    if draw.random() < 0.3:
        lines.append(f"echo {draw.randint(10, 80)} {draw.randint(10, 50)}")
    if draw.random() < 0.25:
        lines += [
            "breath " + " ".join(str(draw.randint(0, 12)) for _ in range(8)),
            "breathw 150 150 200 200 400 400 600 600",
        ]
    return "\n".join(lines) + "\n"


def _data_with_made_up_voices(data: Path, folder: Path) -> Path:
    """A folder like `data` (links to what is in there), with the made-up voices among the others."""
    ours = folder / "espeak-ng-data"
    variants = ours / "voices" / "!v"
    variants.mkdir(parents=True)
    for there, here in ((data, ours), (data / "voices", ours / "voices"), (data / "voices" / "!v", variants)):
        for entry in there.iterdir():
            if not (here / entry.name).exists():
                (here / entry.name).symlink_to(entry)
    for number in range(_MADE_UP):
        (variants / f"{_MADE_UP_NAME}{number}").write_text(made_up_voice(number))
    return ours


class Synthesiser:
    """eSpeak NG, loaded into this process. It has one state for all: never make two."""

    _SYNCHRONOUS, _DONT_EXIT, _UTF8 = 2, 0x8000, 1
    _RATE, _PITCH, _RANGE = 1, 3, 4

    def __init__(self) -> None:
        library, data = find()
        try:
            self._espeak = ctypes.CDLL(library)
        except OSError as error:
            raise UsageError(f"eSpeak NG at {library}: can't be loaded: {error}") from error
        if data is None:
            self._start(library, None)
            where = ctypes.c_char_p()
            self._espeak.espeak_Info(ctypes.byref(where))
            data = (where.value or b"").decode()
            self._espeak.espeak_Terminate()
        self._folder = tempfile.TemporaryDirectory(prefix="attn-voices-")
        self.rate = self._start(library, str(_data_with_made_up_voices(Path(data), Path(self._folder.name))))
        self._heard: list[NDArray[np.int16]] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self._callback = kind(self._listen)  # kept: the library calls it long after this line
        self._espeak.espeak_SetSynthCallback(self._callback)
        if hasattr(self._espeak, "espeak_ng_SetRandSeed"):
            self._espeak.espeak_ng_SetRandSeed(_SEED)  # of breath and flutter

    def _start(self, library: str, data: str | None) -> int:
        rate: int = self._espeak.espeak_Initialize(self._SYNCHRONOUS, 0, data and data.encode(), self._DONT_EXIT)
        if rate <= 0:
            raise UsageError(f"eSpeak NG at {library}: does not start; its data should be at {data or 'its own place'}")
        return rate

    def _listen(self, samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def say(self, take: Take) -> NDArray[np.int16]:
        """The word, at `rate` samples a second."""
        self._heard.clear()
        if self._espeak.espeak_SetVoiceByName(take.voice.encode()):
            raise UsageError(f'eSpeak NG has no voice "{take.voice}"; install version 1.52 or espeakng_loader')
        for what, value in ((self._RATE, take.speed), (self._PITCH, take.pitch), (self._RANGE, take.range)):
            self._espeak.espeak_SetParameter(what, value, 0)
        text = take.text.encode()
        if self._espeak.espeak_Synth(text, len(text) + 1, 0, 0, 0, self._UTF8, None, None):
            raise StageError(f'eSpeak NG failed at "{take.text}" in the voice {take.voice}')
        self._espeak.espeak_Synchronize()
        return np.concatenate(self._heard) if self._heard else np.zeros(0, np.int16)


def find() -> tuple[str, str | None]:
    """(library, data folder) of eSpeak NG, None for a library that knows its own; UsageError where there is none."""
    try:
        import espeakng_loader  # type: ignore[import-untyped]
    except ImportError:
        library = ctypes.util.find_library("espeak-ng")
        if library is None:
            raise UsageError(
                "no speech synthesiser: pip install espeakng_loader, or install espeak-ng with the system's packages"
            ) from None
        return library, None
    return str(espeakng_loader.get_library_path()), str(espeakng_loader.get_data_path())


def spoken(takes: Sequence[Take]) -> Iterator[NDArray[np.float32]]:
    """The sound of each take at SAMPLE_RATE, silence around it cut off, at most SAMPLES long, peak 0.5."""
    voice = Synthesiser()
    for start in range(0, len(takes), _AT_ONCE):
        some = takes[start : start + _AT_ONCE]
        for take, sound in zip(some, _resampled([voice.say(take) for take in some], voice.rate), strict=True):
            peak = np.abs(sound).max(initial=0)
            loud = np.flatnonzero(np.abs(sound) > 0.01 * peak)
            if not len(loud):
                raise StageError(f'eSpeak NG says nothing for "{take.text}" in the voice {take.voice}')
            yield sound[loud[0] : loud[-1] + 1][:SAMPLES] * (0.5 / peak)


def _resampled(sounds: Sequence[NDArray[np.int16]], rate: int) -> Iterator[NDArray[np.float32]]:
    """Each at SAMPLE_RATE. They are resampled in one row, with silence between them, which is ten times as quick."""
    common = math.gcd(rate, SAMPLE_RATE)
    step = rate // common  # input samples after which an output sample lies on one again
    lengths = [(len(sound) // step + 2) * step for sound in sounds]
    row = np.concatenate([np.pad(s, (0, n - len(s))) for s, n in zip(sounds, lengths, strict=True)])
    done = resample(row.astype(np.float32), rate, SAMPLE_RATE)
    return iter(np.split(done, np.cumsum(lengths)[:-1] // step * (SAMPLE_RATE // common)))


def cache_file() -> Path:
    """Where the words are kept; its name changes with what is spoken."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    voices = [made_up_voice(number) for number in range(_MADE_UP)]
    said = json.dumps([voices, *(asdict(take) for take in plan())]).encode()
    return root / "attn-export" / f"spoken-words-{hashlib.sha256(said).hexdigest()[:12]}.safetensors"


def write(path: Path) -> None:
    """Synthesise everything to `path`, whole or not at all. OutputError when it can't be written."""
    from attn_runtime.files import write_file
    from safetensors.numpy import save

    takes = plan()
    sounds = [np.round(sound * 32767).astype(np.int16) for sound in spoken(takes)]
    tensors: dict[str, NDArray[Any]] = {
        "sounds": np.concatenate(sounds),
        "lengths": np.array([len(sound) for sound in sounds], np.int64),
        "labels": np.array([take.label for take in takes], np.int64),
        "parts": np.array([PARTS.index(take.part) for take in takes], np.int64),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path.parent}: can't be made: {error.strerror}") from error
    write_file(path, save(tensors))


@dataclass(frozen=True)
class Clips:
    """`waveforms` int16 [n, SAMPLES], the word in the middle of silence; `labels` int64 [n], indices into LABELS."""

    waveforms: NDArray[np.int16]
    labels: NDArray[np.int64]


def load(path: Path | None = None) -> dict[str, Clips]:
    """The words by part, from the cache; synthesised first where they are not there yet.

    That runs in a process of its own: the synthesiser is foreign code, and answers alike only in a fresh process.
    Raises UsageError where there is no synthesiser.
    """
    from safetensors.numpy import load_file

    path = path or cache_file()
    if not path.exists():
        find()
        made = subprocess.run(
            [sys.executable, "-m", "attn_models.data.speech.espeak", "--out", str(path)], capture_output=True, text=True
        )
        if made.returncode:
            reason = (made.stderr.strip().splitlines() or [f"exit code {made.returncode}"])[-1]
            raise StageError(f"the words could not be spoken: {reason.removeprefix('error: ')}")
    tensors = load_file(path)
    ends = np.cumsum(tensors["lengths"])
    sounds = np.split(tensors["sounds"], ends[:-1])
    clips = np.stack([centred(sound, SAMPLES) for sound in sounds])
    return {
        part: Clips(clips[tensors["parts"] == number], tensors["labels"][tensors["parts"] == number])
        for number, part in enumerate(PARTS)
    }


@click.command()
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write.  [default: in the cache]")
def main(out: Path | None) -> None:
    """Speak the words and keep them."""
    path = out or cache_file()
    try:
        write(path)
    except AttnError as error:
        say(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    say(f"{path}: {len(plan())} words, {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
