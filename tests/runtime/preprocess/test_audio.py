"""Recordings: every WAV format that people have, what is refused, resampling measured with tones, and fitting a length."""

import struct
import wave

import numpy as np
import pytest
from attn_runtime.errors import InputError
from attn_runtime.preprocess.audio import centred, load_audio, load_whole, loudest, prepare
from attn_runtime.preprocess.resampling import resample
from attn_runtime.preprocess.wav import read_wav, write_wav
from support.graphs.wav_files import GOOD, NARROW, OPEN, REFUSED, VALUES, open_size, packed, riff

RECIPE = {"input": "waveform", "sample_rate": 16000}


def written(tmp_path, data: bytes):
    path = tmp_path / "x.wav"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_pcm_of_every_size(tmp_path, bits, extensible):
    got = read_wav(written(tmp_path, riff(packed(bits), 1, 2, 22050, bits, extensible=extensible)))
    assert got.rate == 22050
    assert got.samples.dtype == np.float32
    np.testing.assert_array_equal(got.samples, VALUES.reshape(3, 2).astype(np.float32))


@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize("bits", [32, 64])
def test_ieee_float(tmp_path, bits, extensible):
    data = VALUES.astype(f"<f{bits // 8}").tobytes()
    got = read_wav(written(tmp_path, riff(data, 3, 1, 48000, bits, extensible=extensible)))
    np.testing.assert_array_equal(got.samples[:, 0], VALUES.astype(np.float32))


def test_what_the_standard_library_writes_and_other_chunks_before_the_samples(tmp_path):
    with wave.open(str(tmp_path / "w.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(np.array([0, 16384, -32768], "<i2").tobytes())
    np.testing.assert_array_equal(read_wav(tmp_path / "w.wav").samples[:, 0], np.float32([0, 0.5, -1]))
    # A chunk of odd size is followed by a byte of padding.
    tagged = riff(packed(16), 1, 1, 8000, 16, before=b"LIST" + struct.pack("<I", 3) + b"abc\0")
    np.testing.assert_array_equal(read_wav(written(tmp_path, tagged)).samples[:, 0], VALUES.astype(np.float32))


@pytest.mark.parametrize("name", OPEN)
def test_a_size_that_its_writer_left_open_means_until_the_end(tmp_path, name):
    got = read_wav(written(tmp_path, OPEN[name]))
    np.testing.assert_array_equal(got.samples[:, 0], VALUES.astype(np.float32))
    stopped = any("as of a recorder that was stopped" in note for note in got.notes)
    assert stopped == name.startswith("never-patched") and len(got.notes) == stopped


def test_a_frame_that_the_end_cut_is_left_out_and_told():
    got = read_wav(open_size(0x7FFFF000, cut=3, channels=2))
    np.testing.assert_array_equal(got.samples, VALUES.astype(np.float32).reshape(3, 2)[:2])
    assert got.notes == ("it ends within a frame: the last 1 bytes are left out",)


@pytest.mark.parametrize("name", NARROW)
def test_fewer_bits_than_a_sample_has_are_told_and_left_justified(name):
    data, valid = NARROW[name]
    got = read_wav(data)
    np.testing.assert_array_equal(got.samples[:, 0], VALUES.astype(np.float32))
    assert len(got.notes) == 1 and f"samples of {valid} bits in" in got.notes[0]
    assert got.notes[0] in load_audio(data, RECIPE, 1, 16000).notes


def test_samples_that_lie_in_the_lowest_bits_are_told():
    low = (VALUES * 2**11).astype("<i2").tobytes()
    got = read_wav(riff(low, 1, 1, 8000, 16, extensible=True, valid=12))
    np.testing.assert_array_equal(got.samples[:, 0], VALUES.astype(np.float32) / 16)
    assert "all of them lie in the lowest 12 bits" in got.notes[1]
    assert (
        len(read_wav(riff(bytes(12), 1, 1, 8000, 16, extensible=True, valid=12)).notes) == 1
    )  # silence is not too quiet


def test_write_wav_is_read_back(tmp_path):
    write_wav(tmp_path / "o.wav", np.float32([0, 0.5, -1, 2]), 16000)
    got = read_wav(tmp_path / "o.wav")
    assert got.rate == 16000
    np.testing.assert_allclose(got.samples[:, 0], [0, 0.5, -1, 1], atol=1 / 32768)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_recording_is_told_in_one_line(tmp_path, name):
    data, told = REFUSED[name]
    with pytest.raises(InputError, match=told) as caught:
        load_audio(written(tmp_path, data), RECIPE, 1, 16000)
    assert "x.wav" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_beyond_reason_is_not_read(tmp_path):
    with (tmp_path / "huge.wav").open("wb") as file:
        file.write(GOOD)
        file.truncate((256 << 20) + 1)  # a hole: it takes no room
    with pytest.raises(InputError, match="at most 268435456 are read"):
        read_wav(tmp_path / "huge.wav")


def test_a_missing_file_and_a_folder(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_wav(tmp_path / "nothing.wav")
    with pytest.raises(InputError, match="is not a regular file, but a folder"):
        read_wav(tmp_path)


@pytest.mark.parametrize("cut", range(0, len(GOOD), 5))
def test_any_part_of_a_file_is_read_or_refused(tmp_path, cut):
    with pytest.raises(InputError):
        read_wav(written(tmp_path, GOOD[:cut]))


def tone(frequency: float, rate: int, seconds: float = 0.5) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(round(rate * seconds)) / rate).astype(np.float32)


INNER = slice(1500, -1500)  # at the ends the tone begins and stops, which no band-limited signal does


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000])
def test_a_tone_stays_that_tone(rate):
    for frequency in (50, 440, 0.85 * min(rate, 16000) / 2):
        got = resample(tone(frequency, rate), rate, 16000)
        assert got.dtype == np.float32
        assert len(got) == 8000
        np.testing.assert_allclose(got[INNER], tone(frequency, 16000)[INNER], atol=1e-4)


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_what_the_new_rate_can_not_hold_is_gone(rate):
    for frequency in (8200, 9000, 10000):
        got = resample(tone(frequency, rate), rate, 16000)
        assert 20 * np.log10(np.abs(got[INNER]).max()) < -80


def test_resampling_an_odd_rate_a_short_signal_and_the_same_rate():
    got = resample(tone(440, 15999), 15999, 16000)
    np.testing.assert_allclose(got[INNER], tone(440, 16000, len(got) / 16000)[INNER], atol=1e-4)
    assert resample(np.float32([1.0]), 44100, 16000).shape == (1,)
    assert resample(np.zeros(0, np.float32), 44100, 16000).shape == (0,)
    np.testing.assert_array_equal(resample(tone(440, 16000), 16000, 16000), tone(440, 16000))


def test_resampling_keeps_a_constant_and_the_moment():
    constant = resample(np.ones(4410, np.float32), 44100, 16000)
    np.testing.assert_allclose(constant[300:-300], 1, atol=1e-4)
    click = np.zeros(44100, np.float32)
    click[22050] = 1
    assert np.argmax(resample(click, 44100, 16000)) == 8000


def test_stereo_is_averaged_and_said():
    left, right = tone(440, 16000, 1), np.zeros(16000, np.float32)
    got = prepare(np.stack([left, right], 1), 16000, RECIPE, 16000, 16000)
    np.testing.assert_allclose(got.samples, left[None] / 2, atol=1e-7)
    assert got.notes == ("2 channels are averaged into one",)


def test_another_rate_is_resampled_and_said():
    got = prepare(tone(440, 44100, 1), 44100, RECIPE, 16000, 16000)
    assert got.samples.shape == (1, 16000)
    np.testing.assert_allclose(got.samples[0, INNER], tone(440, 16000, 1)[INNER], atol=1e-4)
    assert got.notes == ("resampled from 44100 Hz to 16000 Hz",)


def test_a_recording_that_fits_is_left_as_it_is_and_nothing_is_said():
    sound = tone(440, 16000, 1)
    got = prepare(sound, 16000, RECIPE, 16000, 16000)
    assert got.notes == ()
    np.testing.assert_array_equal(got.samples[0], sound)
    # A model of any length takes it whole.
    assert prepare(sound, 16000, RECIPE, 512, 32000).samples.shape == (1, 16000)


def test_a_short_recording_is_padded_on_both_sides():
    got = prepare(np.ones(1000, np.float32), 16000, RECIPE, 16000, 16000)
    np.testing.assert_array_equal(got.samples[0], np.pad(np.ones(1000), (7500, 7500)))
    assert got.notes == ("0.06 s long, padded with silence to 1.00 s",)
    np.testing.assert_array_equal(centred(np.ones(2, np.float32), 5), [0, 1, 1, 0, 0])


def test_of_a_long_recording_the_loudest_part_is_taken_and_said():
    sound = 0.3 + np.zeros(48000, np.float32)  # an offset is no loudness
    sound[20000:24000] += tone(440, 16000, 0.25)
    got = prepare(np.clip(sound, -1, 1), 16000, RECIPE, 16000, 16000)
    assert got.samples.shape == (1, 16000)
    assert "3.00 s long, the model takes 1.00 s: the loudest part is used" in got.notes[0]
    start = loudest(sound, 16000)
    assert start <= 20000 and start + 16000 >= 24000
    assert loudest(np.zeros(100, np.float32), 10) == 0


def test_a_recipe_may_put_silence_behind_and_cut_the_end():
    recipe = {**RECIPE, "pad": "end", "cut": "end"}
    quiet = np.linspace(0.1, 0.5, 100, dtype=np.float32)
    made = prepare(quiet, 16000, recipe, 160, 160)
    np.testing.assert_array_equal(made.samples[0], np.pad(quiet, (0, 60)))
    made = prepare(quiet, 16000, recipe, 40, 40)  # the loudest would be the last
    np.testing.assert_array_equal(made.samples[0], quiet[:40])
    assert "the first part is used, 0.00 to 0.00 s" in made.notes[0]
    either = prepare(quiet, 16000, {**RECIPE, "pad": "around", "cut": "loudest"}, 40, 40)
    np.testing.assert_array_equal(either.samples, prepare(quiet, 16000, RECIPE, 40, 40).samples)


def test_a_recording_is_read_whole_at_the_rate_of_the_recipe(tmp_path):
    write_wav(tmp_path / "x.wav", np.full(100, 0.25, np.float32), 8000)
    made = load_whole(tmp_path / "x.wav", RECIPE)
    assert made.samples.shape == (1, 200) and made.notes == ("resampled from 8000 Hz to 16000 Hz",)
    np.testing.assert_allclose(made.samples[0, 80:120], 0.25, atol=1e-3)


def test_samples_beyond_full_scale_are_clipped_and_said():
    got = prepare(np.float32([0, 1.5, -3, 0.5]), 16000, RECIPE, 1, 4)
    np.testing.assert_array_equal(got.samples[0], [0, 1, -1, 0.5])
    assert got.notes == ("2 samples beyond full scale are clipped",)


def test_silence_is_a_recording(tmp_path):
    write_wav(tmp_path / "s.wav", np.zeros(16000, np.float32), 16000)
    got = load_audio(tmp_path / "s.wav", RECIPE, 16000, 16000)
    assert got.notes == ()
    assert not got.samples.any()
