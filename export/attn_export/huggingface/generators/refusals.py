"""What is no generator with a cache of keys and values, seen before anything is run."""

from __future__ import annotations

from typing import Any

from attn_runtime.errors import UsageError
from attn_runtime.escape import printable
from torch import nn
from transformers.cache_utils import (
    DummyLayer,
    DynamicCache,
    DynamicIndexedLayer,
    DynamicLayer,
    LinearAttentionCacheLayerMixin,
)


def refuse_other_state(model: Any) -> None:
    """UsageError, naming the kinds of its layers, for a model that keeps anything else between tokens than keys and values:
    the state of a recurrence or of a convolution, an index of its own. Also for one without a head over a vocabulary."""
    name = type(model).__name__
    text = model.config.get_text_config(decoder=True)
    head = model.get_output_embeddings()
    if head is None:
        raise UsageError(f"{name} has no head over a vocabulary, so that it writes nothing; choose another --task")
    if isinstance(head, nn.ModuleList):
        raise UsageError(
            f"{name} writes {len(head)} codes at once, each by a head of its own; a generator's bundle writes one token after "
            "another. Export its graphs as a model of your own (docs/use/export.md)"
        )
    kinds = sorted({type(layer).__name__ for layer in _layers(text) if not _is_plain(layer)})
    if getattr(model, "_is_stateful", False) and not kinds:
        kinds = ["stateful"]
    if kinds:
        layers = dict.fromkeys(getattr(text, "layer_types", None) or ())
        of = f"; its layers: {', '.join(printable(str(layer)) for layer in layers)}" if layers else ""
        raise UsageError(
            f"{name} keeps a state that is no list of keys and values ({', '.join(kinds)}{of}); a bundle's cache holds keys and "
            "values of attention alone. Recurrent and convolutional layers can't be exported for generation"
        )


def _layers(text: Any) -> list[Any]:
    try:
        return list(DynamicCache(config=text).layers)
    except (
        TypeError,
        ValueError,
        KeyError,
        AttributeError,
    ):  # a config that says nothing of its layers: the probe tells
        return []


def _is_plain(layer: Any) -> bool:
    if isinstance(layer, LinearAttentionCacheLayerMixin | DynamicIndexedLayer):
        return False
    return isinstance(layer, DynamicLayer | DummyLayer)
