"""A generator's graph `extend` held against its `step`: several tokens at once, and one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from attn_models.spec import ModelSpec
from torch import Tensor


def run(spec: ModelSpec, module: Any, name: str, known: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of a graph by name, of inputs by name."""
    graph = next(g for g in spec.graphs if g.name == name)
    found = graph.view(module)(*(known[i.name] for i in graph.inputs))
    return dict(zip([o.name for o in graph.outputs], found if isinstance(found, tuple) else (found,), strict=True))


@torch.no_grad()
def both_ways(
    spec: ModelSpec, module: Any, source: Mapping[str, Tensor], tokens: Tensor, prompt: int, capacity: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Logits [rows, count, vocabulary] and the new entries [rows, heads, count, size] of what follows the first `prompt` of
    `tokens` [rows, length], by `extend` and by `step`. The second row stands a place before the others, where rows may."""
    assert spec.generation is not None
    asset = spec.generation.asset
    known: dict[str, Tensor] = {**source}
    if asset["encoder"]:
        known |= run(spec, module, asset["encoder"], known)
    known |= {"tokens": tokens[:, :prompt], "tokens_mask": torch.ones(len(tokens), prompt, dtype=torch.bool)}
    known |= run(spec, module, asset["first"], known)
    position = next(i for g in spec.graphs if g.name == asset["step"] for i in g.inputs if i.name == "position")
    together = position.dims[0].max == 1
    first = torch.full((len(tokens), 1), prompt)
    first[1] -= 0 if together else 1
    count = tokens.shape[1] - prompt
    fed = tokens.gather(1, first + torch.arange(count))
    for name in asset["cache"]:
        new = known[f"new_{name}"]
        past = torch.full(
            (*new.shape[:2], capacity, new.shape[3]), 7.0, dtype=new.dtype
        )  # what is not filled is no zero
        past[:, :, :prompt] = new
        known[f"past_{name}"] = past
    places, row = torch.arange(capacity), torch.arange(len(tokens))
    given = {"token": fed, "position": first[:1] if together else first, "past_mask": places < first}
    at_once = run(spec, module, asset["extend"], {**known, **given})
    steps: list[dict[str, Tensor]] = []
    for number in range(count):
        at = first + number
        given = {"token": fed[:, number : number + 1], "position": at[:1] if together else at, "past_mask": places < at}
        steps.append(run(spec, module, asset["step"], {**known, **given}))
        for name in asset["cache"]:
            known[f"past_{name}"][row, :, at[:, 0]] = steps[-1][f"new_{name}"][:, :, 0]
    one_by_one = [torch.stack([step["logits"] for step in steps], 1)]
    one_by_one += [torch.cat([step[f"new_{name}"] for step in steps], 2) for name in asset["cache"]]
    return [at_once["logits"], *(at_once[f"new_{name}"] for name in asset["cache"])], one_by_one
