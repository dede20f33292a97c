"""Samples of what the built-in models were trained on, to calibrate with.

    cd scripts/bench/accuracy; attn-export convert vit.attn --precision int8 --calibrate training_samples:vit

Of a model of one graph, `training_samples:NAME` gives batches of its training split, altered as training alters them. A
generator has several graphs, each with samples of its own: `write_samples` makes a folder of them, by running the bundle.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attn_models import registry
from attn_models.recipe import Recipe
from attn_runtime.bundle import Bundle
from attn_runtime.session import open_session
from torch.nn.functional import pad

#: Rows that are taken of a training split, and rows of a sample.
ROWS, BATCH = 512, 8
#: Texts that a generator is calibrated with: each gives a sample of every graph.
TEXTS = 128


def __getattr__(name: str) -> Callable[[], Iterator[dict[str, np.ndarray]]]:
    """The samples of the built-in model `name`."""
    if name not in registry.names():
        raise AttributeError(name)
    return partial(samples, name)


def samples(name: str, rows: int = ROWS) -> Iterator[dict[str, np.ndarray]]:
    """Batches of up to `rows` rows, drawn from the training split of the model: arrays by the names of its inputs."""
    recipe = recipe_of(name)
    random = torch.Generator().manual_seed(0)
    chosen = recipe.train[torch.randperm(len(recipe.train), generator=random)[:rows]]
    for start in range(0, len(chosen), BATCH):
        inputs = dict(chosen[slice(start, start + BATCH)].inputs)
        if recipe.augment is not None:
            inputs = recipe.augment(inputs, random)
        yield {key: tensor.numpy() for key, tensor in inputs.items()}


def drawn(name: str, sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    """Golden inputs that are rows of the training split, for `ExportOptions(inputs_from=partial(drawn, NAME))`: texts are cut, or
    padded, to the length that is asked for."""
    recipe = recipe_of(name)
    random = torch.Generator().manual_seed(seed)
    chosen = dict(recipe.train[torch.randint(len(recipe.train), (sizes["batch"],), generator=random)].inputs)
    if recipe.augment is not None:
        chosen = recipe.augment(chosen, random)
    length = sizes.get("length")
    if length is not None:
        chosen = {key: pad(tensor, (0, length))[:, :length] for key, tensor in chosen.items()}
    return {key: tensor.numpy() for key, tensor in chosen.items()}


def write_samples(name: str, bundle: Path, folder: Path, texts: int = TEXTS) -> None:
    """FOLDER/GRAPH/NUMBER.npz for each graph of a generator: what its graphs read as they go over a training text.

    A text of n tokens gives the first graph k of them, 1 <= k < n, and the step the token behind those and their cache.
    """
    split = recipe_of(name).train
    random = torch.Generator().manual_seed(0)
    opened = Bundle.open(bundle)
    wiring = opened.asset("generation")
    assert wiring is not None
    roles = {role: wiring[role] for role in ("encoder", "first", "step") if wiring[role] is not None}
    sessions = {
        role: open_session(opened, "cpu", "ort", graph=graph, precision="fp32", threads=1)
        for role, graph in roles.items()
    }
    for graph in roles.values():
        (folder / graph).mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(torch.randperm(len(split), generator=random)[:texts].tolist()):
        inputs = {key: tensor[row : row + 1].numpy() for key, tensor in split.inputs.items()}
        written = inputs.pop("target" if "encoder" in roles else "tokens")
        used = int(np.flatnonzero(written[0] != wiring["pad"])[-1]) + 1
        place = int(torch.randint(1, used, (), generator=random)) if used > 1 else 1
        known = unpadded(inputs)
        for role, session in sessions.items():
            if role == "first":
                known |= {"tokens": written[:, :place], "tokens_mask": np.ones((1, place), bool)}
            elif role == "step":
                past = {f"past_{part}": known[f"new_{part}"] for part in wiring["cache"]}
                known |= {"token": written[:, place : place + 1], "position": np.array([[place]]), **past}
                known["past_mask"] = np.ones((1, place), bool)
            fed = {spec.name: known[spec.name] for spec in session.inputs}
            np.savez(folder / roles[role] / f"{number:04}.npz", **fed)
            known |= session.run(fed)
    for session in sessions.values():
        session.close()


def unpadded(inputs: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """One row of an encoder's inputs without the padding that its mask tells of."""
    masks = {re.sub("_mask$", "", key): value for key, value in inputs.items() if key.endswith("_mask")}
    lengths = {key: int(mask.sum()) for key, mask in masks.items()}
    return {key: value[:, : lengths[re.sub("_mask$", "", key)]] for key, value in inputs.items()}


@cache
def recipe_of(name: str) -> Recipe:
    """The recipe of a built-in model."""
    recipe = registry.get(name).recipe
    assert recipe is not None, name
    return recipe()
