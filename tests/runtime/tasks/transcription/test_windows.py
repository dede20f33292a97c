"""Windows over a long recording: their own parts cover it once, as transformers' pipeline cuts it."""

from __future__ import annotations

import numpy as np
from attn_runtime.tasks.transcription.windows import Window, behind_each_other, filled, overlapping
from hypothesis import given
from hypothesis import strategies as st


def test_a_recording_that_fits_is_one_window() -> None:
    assert overlapping(600, 600, 10) == [Window(0, 600)]
    assert overlapping(7, 600, 10) == [Window(0, 7)]


def test_windows_are_joined_in_the_middle_of_what_they_share() -> None:
    found = overlapping(1500, 600, 10)
    assert found == [
        Window(0, 600, 0, 100),
        Window(400, 1000, 100, 100),
        Window(800, 1400, 100, 100),
        Window(1200, 1500, 100, 0),
    ]
    assert [window.kept(10) for window in found] == [slice(0, 50), slice(10, 50), slice(10, 50), slice(10, 30)]


@given(st.integers(1, 5000), st.integers(6, 900), st.integers(1, 64))
def test_every_frame_is_kept_once(samples: int, most: int, frame: int) -> None:
    most = max(most, frame)
    found = overlapping(samples, most, frame)
    assert found[0].start == 0 and found[-1].stop == samples and all(window.samples <= most for window in found)
    if len(found) == 1 or most // frame < 2:
        return
    at = 0
    for window in found:
        kept = window.kept(frame)
        assert window.start % frame == 0 and window.start // frame + kept.start == at
        at = window.start // frame + kept.stop
    assert at == found[-1].start // frame + round(found[-1].samples / frame)


def test_too_few_frames_to_share_some() -> None:
    assert overlapping(25, 10, 10) == [Window(0, 10), Window(10, 20), Window(20, 25)]
    assert behind_each_other(90, 40) == [Window(0, 40), Window(40, 80), Window(80, 90)]


def test_a_short_window_is_filled_with_silence_behind_it() -> None:
    samples = np.arange(1, 6, dtype=np.float32)[None]
    np.testing.assert_array_equal(filled(samples, Window(3, 5), 4), [[4, 5, 0, 0]])
    np.testing.assert_array_equal(filled(samples, Window(0, 5), 4), samples)
