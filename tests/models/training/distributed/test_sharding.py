"""Gradients of whole and split parameters."""

import torch
from attn_models.training.distributed import sharding
from torch import nn


def test_gradients_are_clipped_together():
    net = nn.Linear(3, 2)
    net(torch.ones(1, 3)).sum().backward()
    before = torch.cat([p.grad.flatten() for p in net.parameters()])
    sharding.clip(net, 0.5)
    after = torch.cat([p.grad.flatten() for p in net.parameters()])
    assert torch.allclose(after, before * 0.5 / before.norm(), rtol=1e-5)
    sharding.clip(net, 100.0)
    assert torch.equal(torch.cat([p.grad.flatten() for p in net.parameters()]), after)
