"""Samples in memory."""

import pytest
import torch
from attn_models.recipe import Split


def test_inputs_and_targets_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="3 targets, but inputs of other lengths: {'a': 2}"):
        Split({"a": torch.zeros(2)}, torch.zeros(3))
