"""A model that compares texts with pictures or sounds, as a graph for each side: what a search stores, and what it asks with."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from attn_models.spec import GraphSpec
from attn_runtime.errors import UsageError, did_you_mean
from attn_runtime.spec import TensorSpec
from torch import Tensor, nn

from .. import SavedModel
from .inputs import has_towers
from .one_graph import Tower, run
from .outputs import output_specs
from .probe import Ask, draw, small

#: Name of a graph -> what a model gives its features by, what they are called in its answers, and which inputs are its.
TOWERS = {
    "text": ("get_text_features", "text_embeds", ("input_ids", "attention_mask")),
    "image": ("get_image_features", "image_embeds", ("pixel_values",)),
    "audio": ("get_audio_features", "audio_embeds", ("input_features", "input_values")),
}


def tower_graphs(
    model: nn.Module,
    saved: SavedModel,
    inputs: tuple[TensorSpec, ...],
    fill: int | None,
    towers: Sequence[str],
    whole: Ask,
) -> tuple[GraphSpec, ...]:
    """A graph for each of `towers`, whose answers are those of the `whole` model: features, scaled where it scales them.

    `fill` is as of a `Task`. Raises UsageError for a tower that the model has not.
    """
    has = [name for name, (method, _, _) in TOWERS.items() if has_towers(model) and hasattr(model, method)]
    if unknown := [name for name in towers if name not in has]:
        raise UsageError(
            f"--graphs {','.join(towers)}: {saved.ref} is a {type(model).__name__}; {did_you_mean(unknown[0], has)}"
            f"available: {', '.join(has) or 'none, it is one graph'}"
        )
    given = draw(inputs, small(inputs))
    answered = whole(given)
    graphs = []
    for name in dict.fromkeys(towers):
        method, output, takes = TOWERS[name]
        own = tuple(spec for spec in inputs if spec.name in takes)
        names = [spec.name for spec in own]
        features = run(Tower(model, method, names, output, normalize=False), {key: given[key] for key in names})[output]
        scaled = _scaled(features, answered.get(output))
        if scaled is None:
            raise UsageError(
                f"--graphs {name}: {method} does not give the {output} of {saved.ref}; export it as one graph"
            )
        mine = fill if "attention_mask" in names else None
        view = partial(Tower, method=method, names=names, output=output, normalize=scaled, fill=mine)
        graphs.append(GraphSpec(name, own, output_specs((output,)), view))
    return tuple(graphs)


def _scaled(features: Tensor, wanted: Tensor | None) -> bool | None:
    """Whether `wanted` is `features` scaled to length 1, or they themselves; None where it is neither."""
    unit = features / features.norm(p=2, dim=-1, keepdim=True)
    for flag, one in ((False, features), (True, unit)):
        if wanted is not None and one.shape == wanted.shape and torch.allclose(one, wanted, rtol=1e-3, atol=1e-5):
            return flag
    return None
