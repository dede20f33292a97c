"""Trains a few steps through the real loop and writes the weights; run by python or torchrun from test_distributed.

python distributed_worker.py OUT        as the project does it
python distributed_worker.py OUT plain  with batch norms left as they are: what the test must notice
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from attn_models import global_norm, loop
from attn_models.attentionnet import MODEL
from attn_models.recipe import Recipe, Split
from torch.nn import functional as F

# 9 images a step: over two processes that is 5 and 4, so that uneven shares are tested too.
STEPS, BATCH = 4, 9


def build():
    net = MODEL.build(classes=5)
    MODEL.wake(net)
    return net.double()  # rounding is then 1e-16, and anything larger is a mistake


def recipe() -> Recipe:
    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(STEPS * BATCH, 3, 16, 16, generator=random, dtype=torch.float64)
    targets = torch.randint(0, 5, (STEPS * BATCH,), generator=random)
    data = Split({"image": inputs}, targets)
    return Recipe(data, data, data, loss=F.cross_entropy, labels=tuple("abcde"), epochs=1, batch_size=BATCH)


if __name__ == "__main__":
    if sys.argv[2:] == ["plain"]:
        global_norm.convert = lambda module: module
    loop.train(replace(MODEL, build=build, recipe=recipe), loop.Options(out=Path(sys.argv[1])))
