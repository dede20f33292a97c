"""What the toolkit must know of a model to train, export and verify it, without knowing its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from attn_runtime.compare import Tolerance
from attn_runtime.spec import TensorSpec
from torch import nn

from .recipe import Recipe


@dataclass(frozen=True)
class ModelSpec:
    """A reference model: each `attn_models/NAME.py` has one, called MODEL.

    build       arguments (``--config key=value``) -> a freshly initialised module
    inputs      the graph's inputs with their default ranges, in the order of `forward`
    outputs     names (and meanings) of the outputs, in order; dims are found at export
    tolerance   what 'equal' means for the fp32 graph
    wake        makes the parts that a fresh initialisation switches off take part (a gate at zero, say), so that
                checking an untrained model proves something about them; returns what it did, in words
    assets      file name -> JSON value, written to the bundle's assets/ (labels.json, image.json)
    recipe      loads the data and settings that `attn_models.train` trains with; None if it can't be trained here
    """

    name: str
    task: str
    summary: str
    build: Callable[..., nn.Module]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    tolerance: Tolerance = field(default_factory=Tolerance)
    wake: Callable[[nn.Module], str] | None = None
    assets: Callable[[], Mapping[str, Any]] | None = None
    recipe: Callable[[], Recipe] | None = None
