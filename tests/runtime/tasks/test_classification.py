"""attn-run classify: one command for texts, recordings and pictures, and everything that people give it by mistake."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from attn_runtime.cli import options
from attn_runtime.cli.app import cli
from attn_runtime.errors import InputError, UsageError
from attn_runtime.preprocess.wav import write_wav
from attn_runtime.spec import Dim
from attn_runtime.tasks.classification import classify
from PIL import Image
from support.command_lines.json_answers import result_of
from support.models.small_classifiers import pictures, recordings, texts


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return texts(tmp_path_factory.mktemp("classify") / "texts.attn")


@pytest.fixture(scope="module")
def of_recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recordings(tmp_path_factory.mktemp("classify") / "recordings.attn")


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures(tmp_path_factory.mktemp("classify") / "pictures.attn")


def labels(done) -> list[str]:
    return [found.guesses[0].label for found in done.inputs]


# --- texts ---------------------------------------------------------------------------------------------------------


def test_texts_of_different_lengths_are_one_batch_and_answer_as_alone(of_texts: Path) -> None:
    said = ["Good good .", "bad", "very very odd . good . odd", "GOOD"]
    done = classify(of_texts, said)
    assert done.kind == "text" and done.calls == 1
    assert [found.given for found in done.inputs] == said
    assert labels(done) == ["praise", "blame", "wonder", "praise"]
    for text, found in zip(said, done.inputs, strict=True):
        (alone,) = classify(of_texts, [text]).inputs
        np.testing.assert_allclose([g.probability for g in found.guesses], [g.probability for g in alone.guesses])
    e = np.exp([2, 0, 0])
    np.testing.assert_allclose([g.probability for g in done.inputs[0].guesses], np.sort(e / e.sum())[::-1], rtol=1e-6)


def test_more_texts_than_a_batch_takes_are_several(of_texts: Path) -> None:
    done = classify(of_texts, ["good", "bad", "odd", "good", "bad"])
    assert done.calls == 2
    assert labels(done) == ["praise", "blame", "wonder", "praise", "blame"]


def test_a_graph_of_a_fixed_batch_and_length_takes_any_number_of_shorter_texts(tmp_path: Path) -> None:
    fixed = texts(tmp_path / "t.attn", Dim.fixed(3), Dim.fixed(8))
    assert labels(classify(fixed, ["bad", "odd odd", "good", "bad bad"])) == ["blame", "wonder", "praise", "blame"]


def test_unknown_words_are_told(of_texts: Path) -> None:
    known, partly = classify(of_texts, ["very good", "Zorp is good , zorp"]).inputs
    assert known.notes == ()
    assert partly.notes == ("4 of 5 words are unknown to the model: Zorp, is, ,, zorp",)
    assert partly.guesses[0].label == "praise"


def test_a_file_of_texts_one_a_line(of_texts: Path, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("\ufeffgood\n\n  \r\nbad bad\n".encode())
    done = classify(of_texts, ["odd"], file=tmp_path / "t.txt")
    assert [found.given for found in done.inputs] == ["odd", "good", "bad bad"]
    assert labels(done) == ["wonder", "praise", "blame"]


def test_a_text_that_is_a_dash_is_the_lines_of_stdin_in_the_command(
    of_texts: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"good\n\nbad\n")))
    code, out, _ = run(capsys, "classify", of_texts, "odd", "-", "good good", "--top", "1", "--quiet")
    assert code == 0
    assert [line.split(maxsplit=2)[2] for line in out.splitlines()] == ["odd", "good", "bad", "good good"]
    (found,) = classify(of_texts, ["-"]).inputs  # in a program it is a text like any other
    assert found.given == "-"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("  \n\t", "is empty"),
        ("good " * 9, "has 9 tokens; expected 1..8"),
        ("\ud800", "not valid Unicode"),
    ],
)
def test_a_text_that_is_none_or_too_long(of_texts: Path, text: str, told: str) -> None:
    with pytest.raises(InputError, match=told) as caught:
        classify(of_texts, ["good", text])
    assert "\n" not in str(caught.value)


def test_a_file_where_a_text_is_expected_is_not_read_as_one(of_texts: Path, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF")
    with pytest.raises(UsageError, match=r"is a file, and bundle texts.attn takes texts; --file"):
        classify(of_texts, [str(tmp_path / "x.wav")])


@pytest.mark.parametrize(
    ("data", "told"), [(None, "no such file"), (b"\xff\xfe\x00", "no UTF-8 text"), (b" \n\n", "holds no text")]
)
def test_a_file_of_texts_that_can_not_be_read(of_texts: Path, tmp_path: Path, data: bytes | None, told: str) -> None:
    if data is not None:
        (tmp_path / "t.txt").write_bytes(data)
    with pytest.raises(InputError, match=told):
        classify(of_texts, [], file=tmp_path / "t.txt")


# --- recordings ----------------------------------------------------------------------------------------------------


def test_recordings_of_any_rate_length_and_channels(of_recordings: Path, tmp_path: Path) -> None:
    tone = 0.5 * np.sin(np.arange(100) * 2 * np.pi * 0.05).astype(np.float32)
    write_wav(tmp_path / "fits.wav", tone, 1000)
    write_wav(tmp_path / "silent.wav", np.zeros(100, np.float32), 1000)
    write_wav(tmp_path / "short.wav", tone[:50], 1000)
    write_wav(tmp_path / "long.wav", np.concatenate([np.zeros(300, np.float32), tone]), 1000)
    write_wav(tmp_path / "other.wav", np.repeat(tone, 2), 2000)
    files = [str(tmp_path / f"{name}.wav") for name in ("fits", "silent", "short", "long", "other")]
    done = classify(of_recordings, files)
    assert done.kind == "audio" and done.calls == 2
    assert labels(done) == ["sound", "silence", "sound", "sound", "sound"]
    assert [len(found.notes) for found in done.inputs] == [0, 0, 1, 1, 1]
    assert "padded with silence" in done.inputs[2].notes[0]
    assert "loudest part" in done.inputs[3].notes[0]
    assert done.inputs[4].notes == ("resampled from 2000 Hz to 1000 Hz",)


def test_recordings_of_different_lengths_are_not_one_batch_where_the_model_takes_any(tmp_path: Path) -> None:
    any_length = recordings(tmp_path / "r.attn", Dim("samples", 10, 100, 1000))
    for number, length in enumerate((100, 100, 50, 100)):
        write_wav(tmp_path / f"{number}.wav", np.full(length, 0.5, np.float32), 1000)
    done = classify(any_length, [str(tmp_path / f"{number}.wav") for number in range(4)])
    assert done.calls == 3
    assert labels(done) == ["sound"] * 4
    assert not any(found.notes for found in done.inputs)


def test_what_is_no_recording(of_recordings: Path, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(b"")
    with pytest.raises(InputError, match=r"recording x.wav: the file is empty"):
        classify(of_recordings, [str(tmp_path / "x.wav")])
    with pytest.raises(InputError, match="no such file"):
        classify(of_recordings, ["say yes"])
    with pytest.raises(InputError, match="recording t.txt: it starts with b'yes'"):
        (tmp_path / "t.txt").write_text("yes")
        classify(of_recordings, [], file=tmp_path / "t.txt")


# --- pictures ------------------------------------------------------------------------------------------------------


def test_pictures_of_any_size_and_grey_ones(of_pictures: Path, tmp_path: Path) -> None:
    files = []
    for name, colour in {"r": (250, 3, 3), "b": (0, 0, 99), "g": (1, 200, 100)}.items():
        files.append(str(tmp_path / f"{name}.png"))
        Image.new("RGB", (7, 9), colour).save(files[-1])
    done = classify(of_pictures, files)
    assert done.kind == "image" and done.calls == 2
    assert labels(done) == ["red", "blue", "green"]
    Image.new("L", (30, 20), 77).save(tmp_path / "grey.png")
    (grey,) = classify(of_pictures, [str(tmp_path / "grey.png")]).inputs
    np.testing.assert_allclose([g.probability for g in grey.guesses], 1 / 3, rtol=1e-6)
    with pytest.raises(InputError, match="no such file"):
        classify(of_pictures, ["nothing.png"])


# --- what does not classify, and the command -----------------------------------------------------------------------


def test_a_bundle_that_does_not_classify(tmp_path: Path, valid_bundle: Path) -> None:
    both = texts(tmp_path / "both.attn", audio={"input": "tokens", "sample_rate": 8000})
    with pytest.raises(
        UsageError, match="is no classifier: expected labels and one of text, audio, image .* found text, audio"
    ):
        classify(both, ["good"])
    other = texts(tmp_path / "other.attn", text={"input": "words", "mask": "mask", "pad": 0, "unknown": None})
    with pytest.raises(UsageError, match="takes mask, tokens, and texts give mask, words"):
        classify(other, ["good"])
    with pytest.raises(UsageError, match="top: got 0"):
        classify(valid_bundle, ["x.png"], top=0)
    with pytest.raises(UsageError, match="nothing to classify"):
        classify(valid_bundle, [])


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        options.run_cli(lambda: cli, "attn-run", [str(a) for a in arguments])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def test_the_command_prints_labels_and_scores_and_says_the_rest_on_stderr(
    of_texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "classify", of_texts, "very good good good", "bad zorp", "--top", "2")
    assert code == 0
    first, second, choice = out.splitlines()
    assert first.split() == ["praise", "90.9%", "blame", "4.5%", "very", "good", "good", "good"]
    assert second.startswith("blame")
    assert "1 batch" in choice
    assert err == "note: bad zorp: 1 of 2 words are unknown to the model: zorp\n"


def test_the_command_prints_json(of_texts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "classify", of_texts, "odd zorp", "--json", "--top", "1")
    told = result_of(out)
    assert (code, err) == (0, "")
    assert told["kind"] == "text"
    (found,) = told["inputs"]
    assert found["input"] == "odd zorp" and len(found["notes"]) == 1
    assert found["top"][0]["label"] == "wonder" and found["top"][0]["index"] == 2


def test_a_users_mistake_is_one_line_and_an_exit_code(
    of_texts: Path, of_recordings: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "x.wav").write_bytes(b"RIFF....WAVE")
    for arguments, code in (
        ((of_texts, ""), 7),
        ((of_texts,), 2),
        ((of_recordings, tmp_path / "x.wav"), 7),
        ((tmp_path / "none.attn", "good"), 8),
    ):
        got, out, err = run(capsys, "classify", *arguments)
        assert (got, out) == (code, "")
        assert err.startswith("error: ") and err.count("\n") == 1


def test_attn_run_run_takes_a_recording_too(
    of_recordings: Path, of_pictures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write_wav(tmp_path / "long.wav", np.full(300, 0.5, np.float32), 1000)
    code, out, err = run(capsys, "run", of_recordings, tmp_path / "long.wav")
    assert code == 0 and "sound" in out
    assert err.startswith("note: 0.30 s long, the model takes 0.10 s")
    code, _, err = run(capsys, "run", of_pictures, tmp_path / "long.wav")
    assert code == 2 and "tells of no way from a recording to its inputs" in err
