"""A CTC head in C++ writes of every recording what it writes in Python, and refuses with the same status."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_runtime import transcribe
from attn_runtime.errors import AttnError
from attn_runtime.preprocess.wav import write_wav
from attn_runtime.spec import Dim
from support.machines.generator_library import Refused
from support.machines.inputs_library import Library
from support.models.small_classifiers import recordings
from support.models.tiny_texts import tokenizer
from support.sound.small_transcribers import RATE, letters_tokenizer, speller


@pytest.fixture(autouse=True)
def onnxruntime(cpp_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that a session loads, whichever test of the process is the first."""
    monkeypatch.setenv("ATTN_ONNXRUNTIME", cpp_environment["ATTN_ONNXRUNTIME"])


def open_session(library: Library, bundle: Path) -> ctypes.c_void_p:
    session = ctypes.c_void_p()
    library.check(library.c.attn_session_open(library.bundle(bundle), None, ctypes.byref(session)))
    return session


def written(library: Library, session: ctypes.c_void_p, file: Path) -> str:
    text = ctypes.c_char_p()
    library.check(library.c.attn_session_transcribe_wav(session, str(file).encode(), ctypes.byref(text)))
    assert text.value is not None
    return text.value.decode()


def noise(samples: int, seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    made = np.random.default_rng(seed).normal(0, 0.3, samples)
    return np.asarray(np.clip(np.round(made * 32768), -32768, 32767) / 32768, np.float32)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("letters")
    return {
        "open": speller(folder / "open.attn"),
        "fixed": speller(folder / "fixed.attn", Dim.fixed(300), Dim.fixed(2)),
        "lower": speller(folder / "lower.attn", ctc={"output": "logits", "blank": 0, "frame": 10, "lowercase": True}),
        "words": speller(folder / "words.attn", tokenizer=tokenizer()),
    }


@pytest.mark.parametrize("name", ["open", "fixed", "lower", "words"])
def test_every_length_is_written_alike(library: Library, bundles: dict[str, Path], tmp_path: Path, name: str) -> None:
    session = open_session(library, bundles[name])
    files = []
    for number, samples in enumerate((1, 12, 37, 299, 300, 301, 600, 615, 1010, 2995, 7777)):
        files.append(tmp_path / f"{samples}.wav")
        write_wav(files[-1], noise(samples, number), RATE)
    expected = [one.text for one in transcribe(bundles[name], list(map(str, files)), device="cpu").recordings]
    assert [written(library, session, file) for file in files] == expected
    assert len(expected[-1]) > 100


def test_samples_of_another_rate_and_several_channels(
    library: Library, bundles: dict[str, Path], tmp_path: Path
) -> None:
    session, sound = open_session(library, bundles["open"]), noise(4000, 5)
    write_wav(tmp_path / "x.wav", sound, 2 * RATE)
    (expected,) = transcribe(bundles["open"], [str(tmp_path / "x.wav")], device="cpu").recordings
    stereo = np.ascontiguousarray(np.stack([sound, sound], 1))
    text, sizes = ctypes.c_char_p(), map(ctypes.c_size_t, (4000, 2, 2 * RATE))
    pointer = stereo.ctypes.data_as(ctypes.c_void_p)
    library.check(library.c.attn_session_transcribe(session, pointer, *sizes, ctypes.byref(text)))
    assert text.value is not None and text.value.decode() == expected.text


def test_what_can_not_be_transcribed_is_refused_alike(
    library: Library, bundles: dict[str, Path], tmp_path: Path
) -> None:
    write_wav(tmp_path / "x.wav", noise(100, 0), RATE)
    (tmp_path / "no.wav").write_text("no recording")
    cases = {
        "no head": (recordings(tmp_path / "r.attn"), "x.wav"),
        "another output": (speller(tmp_path / "o.attn", ctc={"output": "scores", "blank": 0, "frame": 10}), "x.wav"),
        "another input": (speller(tmp_path / "i.attn", audio={"input": "sound", "sample_rate": RATE}), "x.wav"),
        "windows that no frame fits in": (speller(tmp_path / "n.attn", Dim("samples", 30, 33, 37)), "x.wav"),
        "another blank": (speller(tmp_path / "b.attn", ctc={"output": "logits", "blank": 1, "frame": 10}), "x.wav"),
        "no file": (bundles["open"], "none.wav"),
        "no recording": (bundles["open"], "no.wav"),
        "a tokenizer": (speller(tmp_path / "t.attn", tokenizer=letters_tokenizer(model={"type": "None"})), "x.wav"),
    }
    for name, (bundle, file) in cases.items():
        with pytest.raises(AttnError) as expected:
            transcribe(bundle, [str(tmp_path / file)], device="cpu")
        with pytest.raises(Refused) as caught:
            written(library, open_session(library, bundle), tmp_path / file)
        assert caught.value.status == expected.value.exit_code, (name, caught.value, expected.value)


def test_assets_of_another_form_are_refused_alike(library: Library, tmp_path: Path) -> None:
    audio, ctc = {"input": "wave", "sample_rate": RATE}, {"output": "logits", "blank": 0, "frame": 10}
    changes: list[dict[str, Any]] = [
        {"audio": {**audio, "pad": "middle"}},
        {"audio": {**audio, "cut": 3}},
        {"ctc": {**ctc, "frame": 0}},
        {"ctc": {**ctc, "blank": -1}},
        {"ctc": {"output": "logits"}},
        {"ctc": {**ctc, "more": True}},
    ]
    write_wav(tmp_path / "x.wav", noise(100, 0), RATE)
    for number, changed in enumerate(changes):
        bundle = speller(tmp_path / f"{number}.attn", **changed)
        with pytest.raises(AttnError) as expected:
            transcribe(bundle, [str(tmp_path / "x.wav")], device="cpu")
        with pytest.raises(Refused) as caught:
            written(library, open_session(library, bundle), tmp_path / "x.wav")
        assert caught.value.status == expected.value.exit_code, changed
