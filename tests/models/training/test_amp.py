"""Which numbers a training computes with."""

import torch
from attn_models.training import amp


def test_auto_precision_is_float32_on_the_cpu():
    assert amp.choose("auto", torch.device("cpu")) == "fp32"
