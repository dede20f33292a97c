"""A model that writes what it hears does so alike in C++ and in Python, of recordings of any length."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime import GenerateOptions, transcribe
from attn_runtime.errors import AttnError
from attn_runtime.preprocess.wav import write_wav
from support.machines.generator_library import Generator, Refused
from support.models.tiny_texts import tokenizer
from support.sound.small_transcribers import RATE, WINDOW, speller, writer


def noise(samples: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    random = np.random.default_rng(seed)
    loud = np.repeat(random.uniform(0, 1, -(-samples // 5)), 5)[:samples]
    return np.asarray(np.round(np.clip(random.normal(0, 0.3, samples), -1, 1) * loud * 32767) / 32768, np.float32)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writer(tmp_path_factory.mktemp("written") / "w.attn")


class Opener:
    """Opens a bundle with the library."""

    def __init__(self, build: Path, environment: dict[str, str]) -> None:
        self._library, self._onnxruntime = build / "libattn_runtime.so", Path(environment["ATTN_ONNXRUNTIME"])

    def __call__(self, bundle: Path) -> Generator:
        return Generator(self._library, bundle, None, self._onnxruntime)


@pytest.fixture(scope="module")
def opener(cpp_build: Path, cpp_environment: dict[str, str]) -> Opener:
    return Opener(cpp_build, cpp_environment)


@pytest.fixture(scope="module")
def opened(opener: Opener, bundle: Path) -> Iterator[Generator]:
    with opener(bundle) as generator:
        yield generator


@pytest.mark.parametrize("options", [{}, {"beams": 3}, {"max_length": 3}, {"beams": 2, "max_length": 1}])
def test_every_length_is_written_alike(
    opened: Generator, bundle: Path, tmp_path: Path, options: dict[str, int]
) -> None:
    texts = set()
    for samples in (1, WINDOW - 1, WINDOW, WINDOW + 1, 3 * WINDOW, 7 * WINDOW + 13):
        file = tmp_path / f"{samples}.wav"
        write_wav(file, noise(samples, samples), RATE)
        (expected,) = transcribe(bundle, [str(file)], GenerateOptions(**options), device="cpu").recordings  # type: ignore[arg-type]
        text, notes = opened.transcribe(file, **options)
        assert (text, notes) == (expected.text, "; ".join(expected.notes))
        texts.add(text)
    assert len(texts) > 3 or options.get("max_length") == 1


def test_samples_of_another_rate_and_several_channels(opened: Generator, bundle: Path, tmp_path: Path) -> None:
    sound = noise(4 * WINDOW, 5)
    write_wav(tmp_path / "x.wav", sound, 2 * RATE)
    (expected,) = transcribe(bundle, [str(tmp_path / "x.wav")], device="cpu").recordings
    text, _ = opened.transcribe(np.stack([sound, sound], 1), 2 * RATE)
    assert text == expected.text and expected.windows == 2


def test_rows_of_a_callback_are_windows_and_it_ends_the_recording(opened: Generator) -> None:
    sound, told = noise(7 * WINDOW, 3)[:, None], list[int]()
    whole, _ = opened.transcribe(sound, RATE, on_token=lambda row, token: told.append(row))
    assert sorted(set(told)) == list(range(7))
    seen: list[int] = []
    text, _ = opened.transcribe(sound, RATE, on_token=lambda row, token: seen.append(row) or True)
    assert len(text) < len(whole) and len(seen) <= 3, "nothing is written after the batch that it ended"


def test_what_can_not_be_transcribed_is_refused_alike(
    opened: Generator, opener: Opener, bundle: Path, tmp_path: Path
) -> None:
    write_wav(tmp_path / "x.wav", noise(100), RATE)
    (tmp_path / "no.wav").write_text("no recording")
    odd = {"model": {"type": "None"}}
    cases = {
        "no file": (bundle, "none.wav"),
        "no recording": (bundle, "no.wav"),
        "no recipe": (writer(tmp_path / "a.attn", audio=None), "x.wav"),
        "no words": (writer(tmp_path / "t.attn", tokenizer=None), "x.wav"),
        "odd words": (writer(tmp_path / "o.attn", tokenizer=tokenizer(**odd)), "x.wav"),
        "another input": (writer(tmp_path / "i.attn", audio={"input": "sound", "sample_rate": RATE}), "x.wav"),
    }
    for name, (path, file) in cases.items():
        with pytest.raises(AttnError) as expected:
            transcribe(path, [str(tmp_path / file)], device="cpu")
        with opener(path) as generator, pytest.raises(Refused) as caught:
            generator.transcribe(tmp_path / file)
        assert caught.value.status == expected.value.exit_code, (name, caught.value, expected.value)
    for options in ({"beams": 0}, {"on_text": lambda row, piece: True}):
        with pytest.raises(Refused) as caught:
            opened.transcribe(tmp_path / "x.wav", **options)
        assert caught.value.status == 2
    with pytest.raises(Refused, match="no generator|generation"):
        opener(speller(tmp_path / "ctc.attn"))
