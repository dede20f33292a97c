"""Folders of images: from files to a trained model with the labels and the image asset of these images."""

import json

import numpy as np
import pytest
import torch
from attn_models.data import image_folder
from attn_models.train import main
from attn_models.training import loop
from attn_models.zoo.attentionnet import MODEL, AttentionNet
from attn_runtime.errors import InputError, UsageError
from attn_runtime.preprocess.image import load_image
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import load_file

RANDOM = np.random.default_rng(0)


def save(path, mode="L", size=(20, 16), level=100, **options):
    """An image of noise around a level; (width, height)."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    pixels = np.clip(level + 20 * RANDOM.standard_normal(shape), 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def fill(folder, counts, **options):
    """counts: class -> number of PNG files; each class has a grey level of its own."""
    for level, (label, count) in enumerate(counts.items()):
        for number in range(count):
            save(folder / label / f"{number:03d}.png", level=60 + 100 * level, **options)
    return folder


@pytest.fixture
def flat(tmp_path):
    return fill(tmp_path / "set", {"none": 20, "lesion": 10})


def pixels_of(split):
    return {row.numpy().tobytes() for row in split.inputs["image"]}


def test_a_flat_folder_is_split_in_the_same_way_each_time_and_by_class(flat):
    one, other = (image_folder.recipe(MODEL, flat, 16) for _ in range(2))
    for part in ("train", "validation", "test"):
        a, b = getattr(one, part), getattr(other, part)
        assert torch.equal(a.inputs["image"], b.inputs["image"]) and torch.equal(a.targets, b.targets)
    assert one.labels == ("lesion", "none"), "sorted names"
    counts = [torch.bincount(getattr(one, part).targets).tolist() for part in ("train", "validation", "test")]
    assert counts == [[7, 14], [1, 2], [2, 4]]
    parts = [pixels_of(getattr(one, part)) for part in ("train", "validation", "test")]
    assert len(parts[0] | parts[1] | parts[2]) == 30, "every image is in one part"


def test_targets_belong_to_their_images(flat):
    recipe = image_folder.recipe(MODEL, flat, 16)
    for split in (recipe.train, recipe.validation, recipe.test):
        bright = split.inputs["image"].mean((1, 2, 3)) > 0  # lesions were made bright, and none dark
        assert torch.equal(split.targets == recipe.labels.index("lesion"), bright)


def test_images_are_prepared_bit_by_bit_as_in_deployment(flat):
    recipe = image_folder.recipe(MODEL, flat, 24)
    asset = recipe.assets["image.json"]
    assert (asset["channels"], asset["height"], asset["width"]) == (1, 24, 24)
    files = [*sorted((flat / "lesion").iterdir()), *sorted((flat / "none").iterdir())]
    deployed = {load_image(file, asset)[0].tobytes() for file in files}
    assert deployed == pixels_of(recipe.train) | pixels_of(recipe.validation) | pixels_of(recipe.test)


def test_mean_and_deviation_are_those_of_the_training_part(flat):
    recipe = image_folder.recipe(MODEL, flat, 16)
    values = recipe.train.inputs["image"]
    assert abs(values.mean()) < 1e-4 and values.std() == pytest.approx(1, abs=1e-3)
    assert abs(recipe.test.inputs["image"].mean()) > 1e-3


def test_sizes_modes_and_formats_may_differ_and_colour_makes_three_channels(tmp_path):
    folder = tmp_path / "set"
    for label in ("a", "b"):
        save(folder / label / "1.png", size=(5, 40))
        save(folder / label / "2.jpg", "RGB", size=(33, 9))
        save(folder / label / "3.png", "RGBA", size=(1, 1))
    recipe = image_folder.recipe(MODEL, folder, 16)
    assert recipe.train.inputs["image"].shape == (2, 3, 16, 16)
    assert recipe.build == {"classes": 2, "in_channels": 3}
    assert len(recipe.assets["image.json"]["mean"]) == 3
    assert image_folder.recipe(MODEL, folder, 16, channels=1).train.inputs["image"].shape == (2, 1, 16, 16)


def test_grey_images_saved_as_rgb_are_grey(tmp_path):
    folder = tmp_path / "set"
    for label in ("a", "b"):
        for number in range(3):
            grey = RANDOM.integers(0, 256, (9, 9), dtype=np.uint8)
            (folder / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.stack([grey] * 3, 2)).save(folder / label / f"{number}.png")
    recipe = image_folder.recipe(MODEL, folder, 16)
    assert recipe.build["in_channels"] == 1
    file = folder / "a" / "0.png"
    everything = pixels_of(recipe.train) | pixels_of(recipe.validation) | pixels_of(recipe.test)
    assert load_image(file, recipe.assets["image.json"])[0].tobytes() in everything
    assert image_folder.recipe(MODEL, folder, 16, channels=3).build["in_channels"] == 3


def test_a_split_folder_is_used_as_it_is(tmp_path):
    folder = tmp_path / "set"
    fill(folder / "train", {"a": 12, "b": 6})
    fill(folder / "test", {"a": 2, "b": 3})
    recipe = image_folder.recipe(MODEL, folder, 16)
    assert torch.bincount(recipe.test.targets).tolist() == [2, 3]
    assert torch.bincount(recipe.validation.targets).tolist() == [1, 1], "taken from the training part"
    assert torch.bincount(recipe.train.targets).tolist() == [11, 5]
    fill(folder / "validation", {"a": 4, "b": 1})
    recipe = image_folder.recipe(MODEL, folder, 16)
    assert torch.bincount(recipe.validation.targets).tolist() == [4, 1]
    assert torch.bincount(recipe.train.targets).tolist() == [12, 6]


def test_the_models_own_size_is_the_default(flat):
    assert image_folder.recipe(MODEL, flat).train.inputs["image"].shape[-2:] == (32, 32)


def _one_class(folder):
    fill(folder, {"only": 4})


def _empty_class(folder):
    fill(folder, {"a": 4})
    (folder / "empty").mkdir()


def _stray_file(folder):
    fill(folder, {"a": 4, "b": 4})
    (folder / "readme.txt").write_text("x")


def _no_test(folder):
    fill(folder / "train", {"a": 4, "b": 4})


def _other_classes(folder):
    fill(folder / "train", {"a": 4, "b": 4})
    fill(folder / "test", {"a": 4, "c": 4})


def _text_as_image(folder):
    fill(folder, {"a": 4, "b": 4})
    (folder / "b" / "notes.txt").write_text("no image")


def _folder_in_class(folder):
    fill(folder, {"a": 4, "b": 4})
    (folder / "b" / "more").mkdir()


def _truncated(folder):
    fill(folder, {"a": 4, "b": 4}, size=(64, 64))
    file = folder / "b" / "002.png"
    file.write_bytes(file.read_bytes()[:-500])


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda folder: None, UsageError, "there is no such folder"),
        (lambda folder: folder.mkdir(), UsageError, "no class folder; expected two or more"),
        (_one_class, UsageError, "one class, only; expected two or more"),
        (_empty_class, UsageError, "class empty has 0 images, expected 3 or more"),
        (_stray_file, UsageError, "readme.txt is no folder"),
        (_no_test, UsageError, "has train but no test"),
        (_other_classes, UsageError, "test has the classes a, c, train has a, b; different: b, c"),
        (_text_as_image, InputError, "in b: image notes.txt: none of PNG"),
        (_folder_in_class, InputError, "in b: image .*more: is not a regular file, but a folder"),
        (_truncated, InputError, "in b: image 002.png: can't be read: .*truncated"),
    ],
)
def test_a_bad_folder_is_one_line(tmp_path, make, error, told):
    folder = tmp_path / "bad"
    make(folder)
    with pytest.raises(error, match=told) as caught:
        image_folder.recipe(MODEL, folder, 16)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)


def test_more_images_than_memory_is_told_before_they_are_read(flat):
    with pytest.raises(UsageError, match="30 images of 1000000 x 1000000 take .* GiB, this machine has"):
        image_folder.recipe(MODEL, flat, 1_000_000)


def test_the_command_line_trains_on_a_folder_and_says_how_to_export(flat, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["attentionnet", "--data", "set", "--size", "16", "--epochs", "2", "--out", "result", "--lr", "0.003"]
    result = CliRunner().invoke(main, [*arguments, "--class-weights", "balanced", "--positive", "lesion"])
    assert result.exit_code == 0, result.output
    out = tmp_path / "result"
    assert json.loads((out / "labels.json").read_text()) == ["lesion", "none"]
    assert json.loads((out / "image.json").read_text())["channels"] == 1
    net = AttentionNet(classes=2, in_channels=1)
    net.load_state_dict(load_file(out / loop.WEIGHTS))
    assert "sensitivity" in result.output and "(lesion recognised)" in result.output
    assert (
        "attn-export to-onnx attentionnet --config classes=2 --config in_channels=1 "
        "--input 'image:float32[batch,1,16,16]' --dim batch=1:8:32 --checkpoint result/model.safetensors "
        "--assets result -o result.attn"
    ) in result.output


def test_a_users_mistake_with_a_folder_is_one_line_with_its_exit_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _truncated(tmp_path / "set")
    result = CliRunner().invoke(main, ["attentionnet", "--data", "set", "--size", "16", "--quiet"])
    assert result.exit_code == InputError.exit_code and result.output.count("\n") == 1
    assert "002.png" in result.output
    assert not (tmp_path / "runs").exists()
    result = CliRunner().invoke(main, ["attentionnet", "--data", "set", "--channels", "2"])
    assert result.exit_code == 2 and "'2' is not one of '1', '3'" in result.output
