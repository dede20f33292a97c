"""What the toolkit must know of a model to train, export and verify it, without knowing its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attn_runtime.compare import Tolerance
from attn_runtime.spec import TensorSpec
from numpy.typing import NDArray
from torch import Tensor, nn

from .recipe import Recipe


def whole(module: nn.Module) -> nn.Module:
    """The view of a graph that is the whole model."""
    return module


@dataclass(frozen=True)
class GraphSpec:
    """One graph of a model.

    name        of the graph in the bundle, and of its file
    inputs      with their default ranges, in the order of `forward`
    outputs     names (and meanings) of the outputs, in order; dims are found at export
    view        the model -> the module that this graph is; it shares the model's parameters
    fit         inputs by name, each drawn by itself -> the same as they come together, of the same shapes; None where any
                do. It must answer by what it is given alone
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    view: Callable[[nn.Module], nn.Module] = whole
    fit: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]] | None = None


@dataclass(frozen=True)
class Extension:
    """How a generator's model reads several tokens of a row behind a cache; `extend` declares the graph.

    view    the model -> the module that the graph is. It is called when the graph is wanted, and raises UsageError, with the
            reason, where the model can't be run that way
    fit     as in GraphSpec
    """

    view: Callable[[nn.Module], nn.Module]
    fit: Callable[[Mapping[str, NDArray[Any]]], Mapping[str, NDArray[Any]]] | None = None


@dataclass(frozen=True)
class GenerationSpec:
    """How the graphs of a model make a generator, and what PyTorch generates without any of them.

    asset       what assets/generation.json holds; manifest.schema.json, $defs/generation, says what it means
    logits      (module, prompt, tokens int64 [batch, length]) -> logits [batch, length, vocabulary], computed anew over all
                tokens, without a cache: what the graphs are held against. `prompt` holds the inputs of the encoder by
                name; it is empty for a decoder-only model
    prompts     seed -> prompts of different lengths, as a caller would give them: the inputs of the encoder of one row each
                by name, or {"tokens": int64 [1, length]} for a decoder-only model
    read        (module, prompt) -> what `logits` takes in place of a prompt as well: what the encoder made of it, so that it
                is read once for all tokens; each has the rows in front. None where there is no encoder, or no such way
    extend      of a model that can have the further graph `extend`, which reads several tokens a row; None of any other
    """

    asset: Mapping[str, Any]
    logits: Callable[[nn.Module, Mapping[str, Tensor], Tensor], Tensor]
    prompts: Callable[[int], Sequence[Mapping[str, Tensor]]]
    read: Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    extend: Extension | None = None


@dataclass(frozen=True)
class AttentionAxis:
    """What lies along one axis of attention weights; manifest.schema.json, $defs/attention_axis, says what each kind is."""

    kind: str
    of: str = ""
    rows: int = 0
    columns: int = 0
    skip: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class AttentionSpec:
    """The attention of the modules whose path matches the regular expression `module`: what its weights say of what."""

    module: str
    query: AttentionAxis
    key: AttentionAxis


@dataclass(frozen=True)
class ModelSpec:
    """A reference model: each `attn_models/zoo/NAME.py` has one, called MODEL.

    build       arguments (``--config key=value``) -> a freshly initialised module
    graphs      what is exported: one graph, called "model", or several that share the model's weights
    tolerance   what 'equal' means for the fp32 graphs
    wake        makes the parts that a fresh initialisation switches off take part (a gate at zero, say), so that
                checking an untrained model proves something about them; returns what it did, in words
    assets      file name -> JSON value, written to the bundle's assets/ (labels.json, image.json)
    recipe      loads the data and settings that `attn_models.train` trains with; None if it can't be trained here
    image_build (classes, channels, side in pixels) -> arguments for `build` that make a model of such square images;
                None if it takes none, or can't be trained on other images than its own
    generation  for models that write token by token
    attention   what the weights of its attention mean, for pictures
    """

    name: str
    task: str
    summary: str
    build: Callable[..., nn.Module]
    graphs: tuple[GraphSpec, ...]
    tolerance: Tolerance = field(default_factory=Tolerance)
    wake: Callable[[nn.Module], str] | None = None
    assets: Callable[[], Mapping[str, Any]] | None = None
    recipe: Callable[[], Recipe] | None = None
    image_build: Callable[[int, int, int], Mapping[str, Any]] | None = None
    generation: GenerationSpec | None = None
    attention: tuple[AttentionSpec, ...] = ()

    @property
    def graph(self) -> GraphSpec:
        """The graph of a model that has one."""
        (only,) = self.graphs
        return only
