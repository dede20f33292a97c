"""What viewer.js is given: golden and generated cases as they lie in the bundle, and the user's own inputs."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from attn_export.report_page.viewer import Given, behind, given_inputs, looked_at, viewer_frame
from attn_runtime.bundle import Bundle
from attn_runtime.errors import InputError
from PIL import Image
from support.attention import looking
from support.models import small_classifiers, tiny_generators
from support.models.tiny_generators import Tiny


def test_arrays_of_a_golden_case(tmp_path: Path) -> None:
    bundle = Bundle.open(looking.watcher(tmp_path / "watcher.attn"))
    image = np.zeros((2, 3, looking.ROWS * 2, looking.COLUMNS * 2), np.float32)
    image[0, :, 2:4, 8:10] = 1
    found = looked_at(bundle, [Given("golden case opt", {"image": image}, "model", {"image": image})])
    (view,) = found.views
    assert view["title"] == "golden case opt: light, 100.0%" and found.maps == 1 and found.notes == ()
    uri = view["picture"].removeprefix("data:image/png;base64,")
    shown = np.asarray(Image.open(BytesIO(base64.b64decode(uri))))
    assert shown.shape == (6, 10, 3) and (shown[2:4, 8:10] == 255).all() and shown.sum() == 4 * 3 * 255


def test_a_golden_case_that_shows_nothing_is_told_and_the_users_input_is_an_error(tmp_path: Path) -> None:
    bundle = Bundle.open(looking.uniform(tmp_path / "words.attn"))
    arrays = {"tokens": np.zeros((1, 6), np.int64), "mask": np.zeros((1, 6), bool)}
    found = looked_at(bundle, [Given("golden case opt", arrays, "model", arrays)])
    assert found.maps == 0 and "golden case opt: mask: row 0 is padding alone" in found.notes[0]
    assert behind(found) == {} and "row 0 is padding alone" in viewer_frame(bundle, found)
    with pytest.raises(InputError):
        looked_at(bundle, [Given("a text of many words", "very good " * 20)])


def test_a_generated_case_is_looked_at_as_its_prompt(tmp_path: Path) -> None:
    tiny = Tiny(attention=True, layers=1, max_length=12)
    answer = tiny_generators.greedy_of(tiny, [5, 7], 11)
    inputs = {"source": np.array([[5, 7, 0]]), "source_mask": np.array([[True, True, False]])}
    outputs = {"tokens": np.array([answer]), "lengths": np.array([len(answer)]), "scores": np.zeros(1, np.float32)}
    told = {"beams": 1, "length_penalty": 1.0, "max_length": 11, "margin": None, "tolerance": 1.0}
    case = {"case": "greedy", "inputs": inputs, "outputs": outputs, **told}
    bundle = Bundle.open(looking.translator(tmp_path / "tiny.attn", tiny, [case]))
    found = looked_at(bundle, given_inputs(bundle, []))
    assert found.views[0]["title"].startswith("generated case greedy: w5 w7 → ") and found.maps == 3
    assert found.views[0]["axes"][0]["labels"] == ["w5", "w7"]


def test_a_bundle_that_looks_at_nothing_says_how_to_get_one(tmp_path: Path) -> None:
    bundle = Bundle.open(small_classifiers.texts(tmp_path / "texts.attn"))
    found = looked_at(bundle, given_inputs(bundle, ["good"]))
    assert found.maps == 0 and "--with-attention" in viewer_frame(bundle, found)
