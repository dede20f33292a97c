"""Weights of classes."""

from dataclasses import replace

import pytest
import torch
from attn_models.training.class_weights import class_weights
from attn_runtime.errors import UsageError
from support.models import training_worker
from support.models.tiny_training import tiny


def test_balanced_weights_make_classes_count_alike():
    recipe = tiny().recipe()
    counts = torch.bincount(recipe.train.targets).double()
    weights = class_weights(recipe, "balanced")
    assert torch.allclose(weights.double() * counts, counts.sum().expand(2) / 2, rtol=1e-6)
    assert class_weights(recipe, None) is None
    assert class_weights(replace(recipe, class_weights="balanced"), "none") is None
    assert class_weights(replace(recipe, class_weights=(1.0, 3.0)), None).tolist() == [1.0, 3.0]


def test_class_weights_that_fit_nothing_are_told():
    recipe = tiny().recipe()
    with pytest.raises(UsageError, match="got 3, expected 2, one for each of a, b"):
        class_weights(recipe, (1.0, 1.0, 1.0))
    with pytest.raises(UsageError, match="no training sample of c"):
        class_weights(replace(recipe, labels=("a", "b", "c")), "balanced")
    with pytest.raises(UsageError, match="are no classes of whole samples"):
        class_weights(training_worker.token_recipe(), "balanced")
