"""Recordings in, texts out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ... import arguments
from ...bundle import Bundle, with_bundle
from ...errors import UsageError
from ...generate import GenerateOptions, Generator, known_options, open_generator
from ...preprocess import Waveform, load_whole
from ...session import RunReport, Session, open_session, ran
from ...spec import TensorSpec
from .ctc import CtcReader
from .written import WrittenReader


@dataclass(frozen=True)
class Transcribed:
    """One recording as it was given, its text, its length in seconds, in how many windows it was read, and what was done
    to it on the way."""

    given: str
    text: str
    seconds: float
    windows: int
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return {
            "recording": self.given,
            "text": self.text,
            "seconds": self.seconds,
            "windows": self.windows,
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Transcription(RunReport):
    """`kind` is "ctc" or "generation"; `calls` counts batches of windows."""

    kind: str
    recordings: tuple[Transcribed, ...]

    def to_json(self) -> dict[str, Any]:
        heard = sum(one.seconds for one in self.recordings)
        return {
            "kind": self.kind,
            "recordings": [one.to_json() for one in self.recordings],
            "times_real_time": heard / self.seconds if self.seconds else None,
        } | self.told()


def transcribe(
    path: str | os.PathLike[str] | Bundle,
    recordings: Sequence[str],
    options: GenerateOptions | None = None,
    *,
    device: str = "auto",
    backend: str | None = None,
    precision: str | None = None,
    threads: int | str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Transcription:
    """What is said in `recordings`, paths of WAV files ("-": stdin), by the bundle at `path`.

    A recording that is longer than the model takes is read in windows. Those of a CTC model share a third of their length with
    their neighbours, and are joined in the middle of it; those of a model that writes follow one another, and their texts do.
    `options` are for the latter. Every recording is read before the first one is run. Raises InputError for one that is
    missing or damaged, UsageError where the bundle does not transcribe, and what `open_session` and `open_generator` raise.
    """
    arguments.expect(arguments.TEXTS, recordings=recordings)
    written = known_options(options)
    if not recordings:
        raise UsageError("nothing to transcribe: give a recording (.wav)")
    opened: dict[str, Any] = {"precision": precision, "threads": threads, "cache": cache}

    def of_bundle(bundle: Bundle) -> Transcription:
        kind, audio = transcribed_by(bundle)
        waves = [load_whole(file, audio) for file in recordings]
        if kind == "ctc" and options is not None:
            raise UsageError(
                f"bundle {bundle.path.name}: a CTC model generates nothing, it takes no beams and no length"
            )
        if kind == "ctc":
            with open_session(bundle, device, backend, **opened) as session:
                check_recordings(session.inputs, audio, session.where)
                return _read(CtcReader(session, bundle.asset("ctc") or {}), session, kind, recordings, waves, audio)
        with open_generator(bundle, device, backend, **opened) as generator:
            check_recordings(generator.inputs, audio, generator.where)
            reader = WrittenReader(generator, written)
            return _read(reader, generator, kind, recordings, waves, audio)

    return with_bundle(path, of_bundle)


def _read(
    reader: CtcReader | WrittenReader,
    opened: Session | Generator,
    kind: str,
    recordings: Sequence[str],
    waves: Sequence[Waveform],
    audio: Mapping[str, Any],
) -> Transcription:
    started = time.perf_counter()
    found = []
    for file, wave in zip(recordings, waves, strict=True):
        samples = wave.samples.shape[1]
        windows = reader.windows(samples)
        text, notes = reader.read(wave.samples, windows)
        found.append(Transcribed(file, text, samples / audio["sample_rate"], len(windows), (*wave.notes, *notes)))
    seconds = time.perf_counter() - started
    return Transcription(kind, tuple(found), **ran(opened, reader.calls, seconds))


def transcribed_by(bundle: Bundle) -> tuple[str, Any]:
    """What the bundle writes with, and its recipe of recordings. UsageError where it does not transcribe."""
    where = f"bundle {bundle.path.name}"
    audio = bundle.asset("audio")
    if audio is None:
        raise UsageError(
            f"{where}: takes no recordings: there is no audio.json among its assets; attn-run run takes arrays"
        )
    kind = next((name for name in ("ctc", "generation") if bundle.asset(name) is not None), None)
    if kind is None:
        better = "; attn-run classify tells what a recording is" if bundle.asset("labels") is not None else ""
        raise UsageError(f"{where}: writes no texts: expected ctc.json or generation.json among its assets{better}")
    return kind, audio


def check_recordings(inputs: Sequence[TensorSpec], audio: Any, where: str) -> None:
    """UsageError unless a recording gives every input that the graphs take."""
    names = [spec.name for spec in inputs]
    if names != [audio["input"]] or len(inputs[0].dims) != 2:
        raise UsageError(
            f"{where}: takes {', '.join(map(str, inputs))}, and a recording gives {audio['input']} [batch, samples] alone; "
            "attn-run run takes an .npz with all of them"
        )
