"""The data: a split that never moves, and images that training and deployment see alike."""

import hashlib

import numpy as np
import pytest
import torch
from attn_models.data import digits
from attn_models.zoo.attentionnet import MODEL
from attn_runtime.errors import UsageError
from attn_runtime.preprocess.image import load_image


def test_the_split_is_disjoint_complete_and_stratified():
    images, targets = digits.pixels()
    train, test = digits.split()
    assert len(test) == digits.TEST_SIZE
    assert sorted([*train, *test]) == list(range(len(images)))
    share = np.bincount(targets[test], minlength=10) / np.bincount(targets, minlength=10)
    assert np.allclose(share, digits.TEST_SIZE / len(targets), atol=0.01)


def test_no_image_is_on_both_sides():
    images, _ = digits.pixels()
    train, test = digits.split()
    assert not {i.tobytes() for i in images[train]} & {i.tobytes() for i in images[test]}


def test_the_split_is_the_one_that_published_accuracies_were_measured_on():
    # If scikit-learn ever shuffles differently, numbers before and after are not comparable: this must be noticed.
    _, test = digits.split()
    assert (
        hashlib.sha256(test.astype("<i8").tobytes()).hexdigest()
        == "2fbaae31b8c6aad12464a07771b64269876d904bfed86f77a63c8265fa201621"
    )


def test_the_validation_part_is_of_the_training_part_alone():
    train, test = digits.split()
    kept, validation = digits.validation_of(train)
    assert len(validation) == digits.VALIDATION_SIZE
    assert sorted([*kept, *validation]) == sorted(train)
    assert not set(validation) & set(test)
    _, targets = digits.pixels()
    share = np.bincount(targets[validation], minlength=10) / np.bincount(targets[train], minlength=10)
    assert np.allclose(share, digits.VALIDATION_SIZE / len(train), atol=0.01)


def test_the_split_does_not_follow_the_global_seed():
    before = digits.split()
    np.random.seed(123)
    torch.manual_seed(123)
    assert all(np.array_equal(a, b) for a, b in zip(before, digits.split(), strict=True))


def test_loaded_tensors_are_what_the_model_takes():
    for part in digits.load():
        spec = MODEL.graph.inputs[0]
        image = part.inputs[spec.name]
        assert tuple(image.shape[1:]) == tuple(d.opt for d in spec.dims[1:])
        assert image.dtype == torch.float32 and part.targets.dtype == torch.int64
        assert abs(image.mean()) < 0.05 and 0.8 < image.std() < 1.1
        assert set(part.targets.tolist()) == set(range(len(digits.LABELS)))


def test_saved_test_images_read_back_as_the_tensors_that_were_tested(tmp_path):
    _, _, test = digits.load()
    _, index = digits.split()
    row = {int(i): n for n, i in enumerate(index)}
    paths = digits.save_test_images(tmp_path / "new" / "folder", 20)
    assert len(set(paths)) == 20
    assert len({path.stem[-1] for path in paths}) >= 7, "they should not all be the same digit"
    for path in paths:
        number, label = path.stem.split("-is-")
        assert int(label) == test.targets[row[int(number)]]
        assert np.array_equal(load_image(path, digits.IMAGE)[0], test.inputs["image"][row[int(number)]].numpy())


def test_more_test_images_than_there_are_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="got 361, the test split has 360"):
        digits.save_test_images(tmp_path / "never", 361)
    assert not (tmp_path / "never").exists()
