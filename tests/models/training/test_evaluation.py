"""Scores over padded tokens."""

import pytest
import torch
from attn_models.training.distributed.processes import Processes
from attn_models.training.evaluation import evaluate
from support.models import training_worker
from torch.nn import functional as F


def test_padded_tokens_count_in_neither_loss_nor_accuracy():
    recipe = training_worker.token_recipe()
    net, data = training_worker.NextToken(), recipe.train
    score = evaluate(net, recipe, data, Processes(0, 1, torch.device("cpu"), False))
    with torch.no_grad():
        logits = net(**data.inputs)
    there = data.targets != training_worker.PADDING
    assert 0 < there.float().mean() < 1
    assert score.loss == pytest.approx(F.cross_entropy(logits[there], data.targets[there]).item(), rel=1e-6)
    right = [((row == t) & m).sum() / m.sum() for row, t, m in zip(logits.argmax(-1), data.targets, there, strict=True)]
    assert score.accuracy == pytest.approx(torch.stack(right).mean().item(), rel=1e-6)
