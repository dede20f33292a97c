"""Drawn scans: the same for the same seed, a rare class, and a rule that no single spot gives away."""

import numpy as np
import pytest
import torch
from attn_models.data import scans
from attn_models.data.scans import LABELS, draw
from attn_models.zoo.scans import IMAGE, MODEL, mirrored
from attn_runtime.errors import UsageError
from attn_runtime.preprocess.image import load_image
from click.testing import CliRunner


@pytest.fixture(scope="module")
def drawn():
    return draw(300, 7)


def test_scans_are_decided_by_the_seed_one_by_one(drawn):
    images, targets = drawn
    fewer, their_targets = draw(20, 7)
    assert np.array_equal(fewer, images[:20]) and np.array_equal(their_targets, targets[:20])
    assert not np.array_equal(draw(20, 8)[0], fewer)
    assert images.dtype == np.uint8 and images.shape == (300, 64, 64)
    assert len({image.tobytes() for image in images}) == 300


def test_lesions_are_rare_and_brightness_does_not_tell_them(drawn):
    images, targets = drawn
    assert 0.14 < targets.mean() < 0.26
    # The best threshold on the brightest spot (3x3 mean), or on the mean, should be far from enough.
    smooth = sum(np.roll(images.astype(float), (i, j), (1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    for measure in (
        images.mean((1, 2)),
        smooth.max((1, 2)),
        np.abs(images - images[:, :, ::-1].astype(float)).mean((1, 2)),
    ):
        lesion, none = measure[targets == 1], measure[targets == 0]
        best = max(min((lesion > at).mean(), (none <= at).mean()) for at in np.quantile(measure, np.linspace(0, 1, 50)))
        assert best < 0.8


def test_the_asset_normalises_them(drawn):
    images, _ = drawn
    values = (images / 255 - IMAGE["mean"][0]) / IMAGE["std"][0]
    assert abs(values.mean()) < 0.05 and abs(values.std() - 1) < 0.05


def test_a_scan_is_mirrored_whole():
    image = torch.randn(64, 1, 4, 4)
    got = mirrored({"image": image}, torch.Generator().manual_seed(0))["image"]
    ways = torch.stack([image, image.flip(2), image.flip(3), image.flip(2, 3)])
    matches = (ways == got).flatten(2).all(2)
    assert matches.any(0).all() and matches.any(1).all(), "each way occurs, and no other"


def test_the_model_takes_what_its_specs_say():
    net = MODEL.build().eval()
    MODEL.wake(net)
    (image,), (logits,) = MODEL.graph.inputs, MODEL.graph.outputs
    with torch.no_grad():
        answer = net(torch.zeros(image.shape({"batch": 2})))
        cells = net.block2(net.block1(net.stem(torch.zeros(image.shape({"batch": 1})))))
    assert tuple(answer.shape) == logits.shape({"batch": 2})
    (attention,) = MODEL.attention
    assert (attention.query.rows, attention.query.columns) == tuple(cells.shape[2:])


def test_a_folder_of_scans_reads_back_as_drawn(tmp_path):
    result = CliRunner().invoke(scans.main, [str(tmp_path / "scans"), "--count", "12", "--seed", "7"])
    assert result.exit_code == 0, result.output
    images, targets = draw(12, 7)
    files = sorted((tmp_path / "scans").rglob("*.png"), key=lambda file: file.stem)
    assert [file.parent.name for file in files] == [LABELS[target] for target in targets]
    plain = {**IMAGE, "scale": 1.0, "mean": [0.0], "std": [1.0]}
    for file, image in zip(files, images, strict=True):
        np.testing.assert_array_equal(load_image(file, plain)[0, 0], image)
    again = CliRunner().invoke(scans.main, [str(tmp_path / "scans")])
    assert again.exit_code == UsageError.exit_code and "is there already" in again.output
