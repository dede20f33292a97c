"""What a bundle predicts for a split of its model's data, to be scored as training scores PyTorch's predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from attn_models.data import encode
from attn_models.recipe import Recipe, Split
from attn_runtime.bundle import Bundle
from attn_runtime.generate import GenerateOptions, Generator, open_generator
from attn_runtime.session import open_session
from torch import Tensor

#: Rows of a call.
BATCH = 32
_NOTHING = -1  # where nothing was predicted


def predictions(bundle: Path, precision: str, split: Split) -> Tensor:
    """Of the bundle in `precision` on ONNX Runtime, in the form that the recipe's `right` compares with the targets: classes
    [n], or tokens [n, length] as they are written through the cache."""
    opened = Bundle.open(bundle)
    wiring = opened.asset("generation")
    if wiring is None:
        return classes(opened, precision, split)
    with open_generator(opened, "cpu", "ort", precision=precision, threads=1) as generator:
        return translations(generator, split) if wiring["encoder"] is not None else answers(generator, split)


def classes(bundle: Bundle, precision: str, split: Split) -> Tensor:
    found = []
    with open_session(bundle, "cpu", "ort", precision=precision, threads=1) as session:
        (output,) = session.outputs
        for start in range(0, len(split), BATCH):
            inputs = {name: tensor.numpy() for name, tensor in split[slice(start, start + BATCH)].inputs.items()}
            found.append(session.run(inputs)[output.name].argmax(-1))
    return torch.from_numpy(np.concatenate(found))


def translations(generator: Generator, split: Split) -> Tensor:
    """Greedy answers to the encoder's inputs; of the targets only the length is used."""
    length = split.targets.shape[1]
    found = torch.full(split.targets.shape, int(generator.wiring.pad))
    for start in range(0, len(split), BATCH):
        part = split[slice(start, start + BATCH)]
        inputs = {name: part.inputs[name].numpy() for name in ("source", "source_mask")}
        tokens = torch.from_numpy(generator.generate(inputs, GenerateOptions(max_length=length, beams=1)).tokens)
        found[start : start + len(part), : tokens.shape[1]] = tokens
    return found


def answers(generator: Generator, split: Split) -> Tensor:
    """What is written behind each question of a story, where the story's own answer stands.

    Training asks for each word of an answer given the right words before it. An answer that is right in every word is the same
    by both, and others do not count.
    """
    question, end = encode("? .")
    tokens, targets = split.inputs["tokens"], split.targets
    found = torch.full(targets.shape, _NOTHING)
    asked = []
    for row, place in (targets == question).nonzero().tolist():
        asked.append((row, place + 1, targets[row].tolist().index(end, place) - place))
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        longest = max(place for _, place, _ in part) + 1
        mask = torch.stack([torch.arange(longest) <= place for _, place, _ in part])
        prompts = torch.stack([tokens[row, :longest] for row, _, _ in part]).where(mask, torch.tensor(0))
        options = GenerateOptions(max_length=max(length for *_, length in part), beams=1, stop=())
        written = generator.generate({"tokens": prompts.numpy(), "tokens_mask": mask.numpy()}, options).tokens
        for (row, place, length), answer in zip(part, written, strict=True):
            found[row, place : place + length] = torch.from_numpy(answer[:length])
    return found


def accuracy(recipe: Recipe, predicted: Tensor, targets: Tensor) -> float:
    """0..1, as the recipe counts what is right."""
    return float(recipe.right(predicted, targets).double().mean())
