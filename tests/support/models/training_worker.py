"""Trains small models through the real loop; run by python or torchrun from the tests.

python training_worker.py JOBS      JOBS is a JSON list of {"model", "out", ...}; the rest is passed to loop.Options

Several jobs in one process: starting one costs more than training these models. "model" is one of the functions here.
"plain": true leaves batch norms as they are, which the tests must notice. "kill": N ends the process with SIGKILL when
the batch number N is drawn.
"""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from attn_models.recipe import Recipe, Split
from attn_models.training import loop
from attn_models.training.distributed import joined_processes, sync_batch_norm
from attn_models.zoo.attentionnet import MODEL
from torch import nn
from torch.nn import functional as F

# 9 images a step: over two processes that is 5 and 4, so that uneven shares are tested too.
STEPS, BATCH = 4, 9
PADDING = -100


def images():
    """AttentionNet, whose batch norms must see the batches of all processes."""

    def build():
        net = MODEL.build(classes=5, width=16)
        MODEL.wake(net)
        return net.double()  # rounding is then 1e-16, and anything larger is a mistake

    random = torch.Generator().manual_seed(1)
    inputs = torch.randn(STEPS * BATCH, 3, 16, 16, generator=random, dtype=torch.float64)
    targets = torch.randint(0, 5, (STEPS * BATCH,), generator=random)
    data = Split({"image": inputs}, targets)
    recipe = Recipe(
        data, data[:BATCH], data[BATCH:20], loss=F.cross_entropy, labels=tuple("abcde"), epochs=1, batch_size=BATCH
    )
    return replace(MODEL, build=build, recipe=lambda: recipe)


class NextToken(nn.Module):
    """Tokens [n, length] -> logits of the same length: layers in a list, tied weights, and a gate of no dimensions."""

    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.embedding = nn.Embedding(11, 6)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Dropout(dropout)) for _ in range(2))
        self.gate = nn.Parameter(torch.tensor(0.5))
        self.head = nn.Linear(6, 11)
        self.head.weight = self.embedding.weight

    def forward(self, tokens, tokens_mask):
        return self.logits(tokens, tokens_mask)

    def logits(self, tokens, tokens_mask):
        x = self.embedding(tokens) * tokens_mask[..., None]
        for layer in self.layers:
            x = x + self.gate * layer(x)
        return self.head(x)


def token_loss(outputs, targets, reduction):
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=PADDING, reduction=reduction)


def token_share(predicted, targets):
    there = targets != PADDING
    return ((predicted == targets) & there).sum(1) / there.sum(1)


def token_recipe(**settings):
    """Rows of different lengths, padded; the successor of a token is (3 * token + 1) mod 11."""
    random = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, 11, (48, 7), generator=random)
    mask = torch.arange(7) < torch.randint(2, 8, (48, 1), generator=random)
    targets = torch.where(mask, (3 * tokens + 1) % 11, PADDING)
    data = Split({"tokens": tokens * mask, "tokens_mask": mask}, targets)
    defaults = {
        "loss": token_loss,
        "right": token_share,
        "units": lambda targets: (targets != PADDING).sum(1),
        "measure": "rows, token by token",
        "epochs": 2,
        "batch_size": BATCH,
    }
    # One sample to validate on: of two processes, one then has none.
    return Recipe(data[:36], data[36:37], data[37:], **(defaults | settings))


def tokens(**settings):
    recipe = token_recipe(**settings)
    return replace(MODEL, name="tokens", build=lambda: NextToken().double(), recipe=lambda: recipe)


def tokens_clipped():
    """As `tokens`, with small gradients and a prediction that does not go through the module's forward."""
    return tokens(clip=0.05, predict=lambda module, inputs: module.logits(**inputs).argmax(-1))


def everything():
    """Dropout, batch norm, augmentation, clipping and an early end: all that a resumed training must find again."""
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 6, generator=random)
    data = Split({"input": inputs}, (inputs.sum(1) + 0.5 * torch.randn(60, generator=random) > 0).long())

    def augment(inputs, generator):
        return {"input": inputs["input"] + 0.3 * torch.randn(inputs["input"].shape, generator=generator)}

    def build():
        return nn.Sequential(nn.Linear(6, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))

    recipe = Recipe(
        data[:30], data[30:45], data[45:], loss=F.cross_entropy, labels=("no", "yes"), augment=augment,
        class_weights="balanced", clip=1.0, epochs=20, patience=4, batch_size=8, lr=0.05,
    )  # fmt: skip
    return replace(MODEL, name="everything", build=build, recipe=lambda: recipe)


def killed_at(spec, number):
    """The same training, ended by SIGKILL when batch `number` (from 1) is drawn."""
    recipe, drawn = spec.recipe(), []

    def augment(inputs, generator):
        drawn.append(1)
        if len(drawn) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return recipe.augment(inputs, generator)

    return replace(spec, recipe=lambda: replace(recipe, augment=augment))


def run(job):
    spec = globals()[job.pop("model")]()
    convert = sync_batch_norm.convert
    if job.pop("plain", False):
        sync_batch_norm.convert = lambda module: module
    if kill := job.pop("kill", None):
        spec = killed_at(spec, kill)
    try:
        return loop.train(spec, loop.TrainOptions(out=Path(job.pop("out")), **job))
    finally:
        sync_batch_norm.convert = convert


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined_processes("cpu"):  # once for all jobs
        for job in json.loads(sys.argv[1]):
            run(job)
