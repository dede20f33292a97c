"""Inputs and answers are shown as what they are: a picture, a recording, words, classes, numbers."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attn_export.report_page import examples
from attn_export.report_page.viewer import Given, given_inputs, pixels_of
from attn_runtime import transcribe
from attn_runtime.bundle import Bundle
from attn_runtime.preprocess import prepare
from attn_runtime.preprocess.wav import write_wav
from PIL import Image
from support.attention import looking
from support.graphs.make_hostile_bundles import make_valid_bundle
from support.models import small_classifiers, tiny_generators
from support.models.tiny_generators import Tiny
from support.pages.page_tags import PageTags
from support.sound import small_transcribers
from support.texts import small_text_models

#: The recipe of a picture, with what changes its values.
RECIPE = {"input": "image", "height": 4, "width": 5, "channels": 3, "resize": "nearest", "scale": 1 / 255,
          "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}  # fmt: skip


def text_of(html: str) -> str:
    return PageTags(html).text


@pytest.mark.parametrize("more", [{}, {"channel_order": "bgr"}])
def test_a_picture_is_what_the_tensor_was_made_of(more: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)
    recipe = {**RECIPE, **more}
    np.testing.assert_array_equal(pixels_of(prepare(pixels, recipe)[0], recipe), pixels)
    grey = {**RECIPE, "channels": 1, "mean": [0.5], "std": [0.2]}
    shown = pixels_of(prepare(pixels[..., 0], grey)[0], grey)
    assert (shown == pixels[..., :1]).all() and shown.shape == (4, 5, 3)
    assert (pixels_of(np.full((3, 4, 5), np.nan), recipe) == 0).all(), "what is no number is black"


def test_a_golden_case_shows_what_pytorch_answered(tmp_path: Path) -> None:
    bundle = Bundle.open(make_valid_bundle(tmp_path / "gemm.attn"))
    (given,) = given_inputs(bundle, [])
    told = text_of(examples.told(bundle, [given]))
    assert f"{given.answers['y'][0, 0]:.4g}" in told and f"{given.arrays['x'][0, 0]:.4g}" in told


def test_pictures_and_classes(tmp_path: Path) -> None:
    bundle = Bundle.open(looking.watcher(tmp_path / "watcher.attn"))
    image = np.zeros((1, 3, 6, 10), np.float32)
    image[..., 2, 3] = 1
    given = Given("by hand", {"image": image}, "model", {"image": image}, {"logits": np.array([[7.5]], np.float32)})
    page = examples.told(bundle, [given])
    (found,) = re.findall('src="data:image/png;base64,([^"]*)"', page)
    drawn = np.asarray(Image.open(BytesIO(base64.b64decode(found))))
    assert drawn.shape == (6, 10, 3) and (drawn[2, 3] == 255).all() and drawn.sum() == 3 * 255
    assert "light7.500" in text_of(page)


def test_the_users_own_inputs_are_answered(tmp_path: Path) -> None:
    texts = Bundle.open(small_classifiers.texts(tmp_path / "texts.attn"))
    told = text_of(examples.told(texts, given_inputs(texts, ["good good .", "bad"])))
    assert told.index("good good .") < told.index("praise") < told.index("bad") < told.rindex("blame")
    writer = Bundle.open(
        looking.translator(tmp_path / "tiny.attn", tiny := Tiny(attention=True, layers=1, max_length=12))
    )
    answer = tiny_generators.greedy_of(tiny, [5, 7], 11)
    told = text_of(examples.told(writer, given_inputs(writer, ["w5 w7"])))
    assert told == "w5 w7→ " + " ".join(f"w{token}" for token in answer if token > 2)


def test_recordings_are_written_down_and_what_is_answered_otherwise_is_left_out(tmp_path: Path) -> None:
    write_wav(tmp_path / "x.wav", np.random.default_rng(0).uniform(-1, 1, 200).astype(np.float32), 1000)
    for made in (small_transcribers.speller, small_transcribers.writer):
        bundle = Bundle.open(made(tmp_path / f"{made.__name__}.attn"))
        (heard,) = transcribe(bundle.path, [str(tmp_path / "x.wav")]).recordings
        page = examples.told(bundle, given_inputs(bundle, [str(tmp_path / "x.wav")]))
        assert text_of(page) == f"x.wav→ {heard.text}" and "<path" in page
    tags = small_text_models.per_token(
        tmp_path / "tags.attn", {"logits": small_text_models.table(2)}, labels=["O", "B"]
    )
    bundle = Bundle.open(tags)
    assert text_of(examples.told(bundle, given_inputs(bundle, ["good"]))) == "good"


@pytest.mark.parametrize(
    ("array", "tag"),
    [(np.zeros((1, 200), np.float32), "svg"), (np.full((2, 30, 40), np.inf, np.float32), "img"), (np.arange(3), "code"),
     (np.zeros((1, 2, 20, 20), np.int64), "img"), (np.float32(3), "code"), (np.zeros((1, 2000), bool), "svg")],
)  # fmt: skip
def test_any_array_is_drawn(array: Any, tag: str) -> None:
    from attn_export.report_page.viewer import drawn

    assert PageTags(drawn(np.asarray(array), "it")).names[0] == tag
