"""What is known of a source once it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from attn_runtime.compare import Tolerance

if TYPE_CHECKING:
    from attn_models.spec import AttentionSpec, GenerationSpec
    from attn_runtime.bundle import Arrays
    from attn_runtime.spec import TensorSpec
    from torch import nn

    from ..reference import Draw, Watch

#: What the graph of a model is called that has one.
ONLY = "model"


@dataclass(frozen=True)
class SourceGraph:
    """One graph to export: a module in eval mode, which may share parameters with those of other graphs.

    `outputs` are the names (and meanings) that the model declares; none where it declares none. `watch` sees further
    outputs while the module runs. `draw` gives the inputs of every case where they depend on one another; None draws each
    by itself.
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
    watch: Watch | None = None
    draw: Draw | None = None


@dataclass
class Source:
    """A module in eval mode with everything export must know about it. `notes` are told to the user once; each of
    `examples` is one more case."""

    name: str
    module: nn.Module
    graphs: tuple[SourceGraph, ...]
    provenance: dict[str, Any]
    examples: tuple[Arrays, ...] = ()
    tolerance: Tolerance = field(default_factory=Tolerance)
    task: str | None = None
    assets: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    by_position: bool = False
    generation: GenerationSpec | None = None
    attention: tuple[AttentionSpec, ...] = ()

    @property
    def parameters(self) -> int:
        from torch.nn.parameter import is_lazy

        return sum(p.numel() for p in self.module.parameters() if not is_lazy(p))

    @property
    def graph(self) -> SourceGraph:
        """The graph of a source that has one."""
        (only,) = self.graphs
        return only
