"""A model of two layers on random data, trained through the real loop: what the loop does shows in a moment."""

import csv
from dataclasses import replace

import pytest
import torch
from attn_models.recipe import Recipe, Split
from attn_models.training import checkpoint, loop
from attn_models.zoo.attentionnet import MODEL
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F


def tiny(loss=F.cross_entropy, **settings):
    random = torch.Generator().manual_seed(0)
    inputs = torch.randn(40, 6, generator=random)
    data = Split({"input": inputs}, (inputs.sum(1) > 0).long())
    recipe = replace(
        Recipe(data[:30], data[30:], data[30:], loss=loss, labels=("a", "b")),
        **{"epochs": 3, "batch_size": 8, **settings},
    )

    def build():
        return nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))

    return replace(MODEL, name="tiny", build=build, recipe=lambda: recipe)


def options(out, **more):
    return loop.TrainOptions(out=out, quiet=True, **more)


def interrupted(out, after=2):
    """Leave what a training leaves that was stopped when epoch `after` was saved."""
    real = checkpoint.save_state

    def stop_after(path, tensors, run):
        real(path, tensors, run)
        if len(run["rows"]) == after:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(checkpoint, "save_state", stop_after)
        loop.train(tiny(), options(out))


def read_history(folder):
    with (folder / loop.HISTORY).open(newline="") as file:
        return list(csv.DictReader(file))


def same_weights(one, other):
    """Whether two trainings ended with the same bits. (The files may differ: metadata is written in any order.)"""
    a, b = load_file(one / loop.WEIGHTS), load_file(other / loop.WEIGHTS)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
