"""attn-run transcribe: recordings of any length, against a decode of the whole in one piece."""

from __future__ import annotations

import io
import wave
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from attn_runtime import GenerateOptions, transcribe
from attn_runtime.cli.app import cli
from attn_runtime.errors import BundleError, InputError, UsageError
from attn_runtime.preprocess.wav import write_wav
from attn_runtime.spec import Dim
from click.testing import CliRunner
from support.command_lines.json_answers import result_of
from support.models.small_classifiers import recordings
from support.models.tiny_generators import greedy_of
from support.models.tiny_texts import WORDS
from support.sound.small_transcribers import LETTERS, RATE, WINDOW, WRITER, frames_of, source_of, speller, writer


@pytest.fixture(scope="module")
def of_letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return speller(tmp_path_factory.mktemp("transcribe") / "letters.attn")


@pytest.fixture(scope="module")
def of_words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return writer(tmp_path_factory.mktemp("transcribe") / "words.attn")


def recording(folder: Path, samples: int, seed: int = 0) -> tuple[str, np.ndarray]:
    """A file, and its samples as they are read."""
    made = np.clip(np.random.default_rng(seed).normal(0, 0.3, samples), -1, 1)
    levels = np.repeat(np.random.default_rng(seed + 1).uniform(0, 1, -(-samples // 5)), 5)[:samples]
    whole = np.round(made * levels * 32767).astype(np.int16)
    write_wav(folder / f"{samples}-{seed}.wav", (whole / 32768).astype(np.float32), RATE)
    return str(folder / f"{samples}-{seed}.wav"), (whole / 32768).astype(np.float32)


def spelt(frames: list[int]) -> str:
    """Best path decoding, written out."""
    return "".join(LETTERS[n] for n, _ in groupby(frames) if n != 0).replace("|", " ").strip()


@pytest.mark.parametrize("samples", [600, 601, 995, 3000, 5555])
def test_windows_answer_what_the_whole_recording_does(of_letters: Path, tmp_path: Path, samples: int) -> None:
    file, sound = recording(tmp_path, samples)
    (one,) = transcribe(of_letters, [file], device="cpu").recordings
    # The graph is local, and windows share more than it reaches: only the last frames, which it has no samples for, differ.
    assert one.text == spelt(frames_of(sound)) and len(one.text) > samples / 40
    assert any(a == b for a, b in zip(one.text, one.text[1:], strict=False)), "a letter that a blank makes two of"
    assert one.windows == (1 if samples <= 600 else -(-(samples - 200) // 400))
    assert one.seconds == samples / RATE


def test_several_recordings_and_batches_of_windows(of_letters: Path, tmp_path: Path) -> None:
    files = [recording(tmp_path, samples, samples)[0] for samples in (3000, 100, 640)]
    together = transcribe(of_letters, files, device="cpu")
    alone = [transcribe(of_letters, [file], device="cpu").recordings[0] for file in files]
    assert [one.text for one in together.recordings] == [one.text for one in alone]
    assert together.kind == "ctc" and together.calls == 3 + 1 + 2, "7 windows of 3000 samples in batches of 3"


def test_a_graph_of_a_fixed_batch_and_length(tmp_path: Path) -> None:
    fixed = speller(tmp_path / "fixed.attn", Dim.fixed(300), Dim.fixed(2))
    file, sound = recording(tmp_path, 1010)
    (one,) = transcribe(fixed, [file], device="cpu").recordings
    # Of the last window the frames that lie in the recording are kept, those that look into the silence behind it too.
    padded = np.concatenate([sound, np.zeros(20, np.float32)])
    assert one.text == spelt(frames_of(padded)[: round(len(sound) / 10)])


def test_a_short_recording_is_filled_up(of_letters: Path, tmp_path: Path) -> None:
    file, sound = recording(tmp_path, 12)
    (one,) = transcribe(of_letters, [file], device="cpu").recordings
    assert one.text == spelt(frames_of(np.pad(sound, (0, 18))))


def test_a_writer_reads_windows_one_after_the_other(of_words: Path, tmp_path: Path) -> None:
    file, sound = recording(tmp_path, 3 * WINDOW + 13)
    (one,) = transcribe(of_words, [file], device="cpu").recordings
    answers = [
        greedy_of(WRITER, source_of(sound[start : start + WINDOW]), 11) for start in range(0, len(sound), WINDOW)
    ]
    assert len(answers) == one.windows == 4
    written = [WORDS[token] for answer in answers for token in answer if token > 1]
    assert one.text.replace(" ", "") == "".join(written)
    assert len(set(map(tuple, answers))) > 1, "windows that differ"


def test_what_ends_without_a_stop_token_is_told(of_words: Path, tmp_path: Path) -> None:
    file, _ = recording(tmp_path, WINDOW + 1)
    (one,) = transcribe(of_words, [file], GenerateOptions(max_length=1), device="cpu").recordings
    assert "window 1 of 2 ends at 1 tokens, without a stop token" in one.notes


def test_what_is_no_transcriber_is_told_what_to_do(of_letters: Path, tmp_path: Path) -> None:
    file, _ = recording(tmp_path, 100)
    with pytest.raises(UsageError, match="writes no texts: .* attn-run classify tells what a recording is"):
        transcribe(recordings(tmp_path / "r.attn"), [file])
    with pytest.raises(UsageError, match="nothing to transcribe"):
        transcribe(of_letters, [])
    with pytest.raises(UsageError, match="a CTC model generates nothing"):
        transcribe(of_letters, [file], GenerateOptions())
    with pytest.raises(InputError, match="there is no such file"):
        transcribe(of_letters, [file, str(tmp_path / "none.wav")])
    with pytest.raises(UsageError, match="lack tokenizer.json"):
        # "text" is what keeps the name free: an asset of null is none
        transcribe(speller(tmp_path / "bare.attn", tokenizer=None), [file])


def test_windows_that_lose_frames_where_they_are_joined_are_refused(tmp_path: Path) -> None:
    file, _ = recording(tmp_path, 100)
    with pytest.raises(UsageError, match="windows of 30 samples can't be joined: they give 1 frames, and 2 are needed"):
        transcribe(speller(tmp_path / "narrow.attn", Dim("samples", 30, 33, 37)), [file], device="cpu")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"ctc": {"output": "scores", "blank": 0, "frame": 10}}, "there is no output scores, found logits"),
        ({"ctc": {"output": "logits", "blank": 0, "frame": 0}}, "frame"),
        ({"ctc": {"output": "logits", "blank": 0}}, "frame"),
        ({"ctc": {"output": "logits", "blank": 0, "frame": 10, "beams": 4}}, "beams"),
        ({"audio": {"input": "wave", "sample_rate": RATE, "pad": "middle"}}, "pad"),
        ({"audio": {"input": "wave", "sample_rate": RATE, "cut": "start"}}, "cut"),
    ],
)  # fmt: skip
def test_assets_of_another_form_are_refused(changed: dict[str, object], expected: str, tmp_path: Path) -> None:
    file, _ = recording(tmp_path, 100)
    with pytest.raises(BundleError, match=expected):
        transcribe(speller(tmp_path / "x.attn", **changed), [file], device="cpu")


def test_the_command_prints_a_line_each_and_notes_on_stderr(of_letters: Path, tmp_path: Path) -> None:
    files = [recording(tmp_path, 700)[0], recording(tmp_path, 50)[0]]
    ran = CliRunner().invoke(cli, ["transcribe", str(of_letters), *files, "--device", "cpu"])
    assert ran.exit_code == 0, ran.output
    texts = [one.text for one in transcribe(of_letters, files, device="cpu").recordings]
    assert ran.stdout.splitlines() == texts
    assert "0.8 s in 3 windows" in ran.stderr
    ran = CliRunner().invoke(cli, ["transcribe", str(of_letters), files[0], "--json", "--device", "cpu"])
    told = result_of(ran.stdout)
    assert told["recordings"][0]["text"] == texts[0] and told["recordings"][0]["windows"] == 2 and told["kind"] == "ctc"


def test_a_recording_of_another_rate_from_stdin(of_letters: Path) -> None:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((2, 2, 2000, 0, "NONE", ""))
        file.writeframes(np.zeros((400, 2), "<i2").tobytes())
    ran = CliRunner().invoke(cli, ["transcribe", str(of_letters), "-", "--device", "cpu"], input=data.getvalue())
    assert ran.exit_code == 0, ran.output
    assert "2 channels are averaged into one" in ran.stderr and "resampled from 2000 Hz to 1000 Hz" in ran.stderr


def test_a_writer_takes_beams_and_no_other_inputs(of_words: Path, tmp_path: Path) -> None:
    file, _ = recording(tmp_path, 2 * WINDOW)
    command = ["transcribe", str(of_words), file, "--beams", "2", "--max-length", "3", "--device", "cpu", "--json"]
    ran = CliRunner().invoke(cli, command)
    assert ran.exit_code == 0, ran.output
    assert result_of(ran.stdout)["kind"] == "generation"
    other = writer(tmp_path / "other.attn", audio={"input": "sound", "sample_rate": RATE})
    with pytest.raises(UsageError, match=r"takes wave.*and a recording gives sound \[batch, samples\] alone"):
        transcribe(other, [file], device="cpu")
