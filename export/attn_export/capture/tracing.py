"""nn.Module -> program, by torch.export: by its own rules first, and by the example's branches where these refuse.

torch.export wants every condition on sizes that it meets to hold for the whole declared range. Many hold by arithmetic
that it can't do (a window that divides a padded length), and others would change nothing (contiguous or not, a view or a
copy). So a module that its rules refuse is traced once more: each condition is decided by the example and noted as a guard.
Sizes at which a guard does not hold are then asked of PyTorch (`dropped_guards`), and the checks decide.
docs/decisions/0014 has what was tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from attn_runtime.errors import AttnError, CaptureError
from attn_runtime.spec import TensorSpec
from torch.fx.experimental import _config as fx_config

from . import dynamic_shape_errors
from .dynamic_shape_errors import Record
from .equivalents import SizedCalls
from .patches import traced_inputs


class RulesRefused(CaptureError):
    """torch.export's rules about sizes refuse the module. `by_dim`: the message names a dim, and mostly the line.

    fixed: the dims that the module takes in one size alone, and that of the example.
    """

    def __init__(self, message: str, by_dim: bool, fixed: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.by_dim, self.fixed = by_dim, dict(fixed or {})


@dataclass(frozen=True)
class Traced:
    """A program, what it was traced with (fake tensors that know their symbols), and what was decided on the way.

    refused: why torch.export's own rules took the module for no program, where it was traced by the example's branches;
    wrote: what was written otherwise meanwhile.
    """

    program: torch.export.ExportedProgram
    inputs: Sequence[Any]
    records: Sequence[Record] = field(default_factory=list)
    refused: str = ""
    wrote: str = ""


def by_rules(
    module: torch.nn.Module, args: tuple[torch.Tensor, ...], inputs: Sequence[TensorSpec], refused: RulesRefused | None
) -> Traced:
    """By torch.export's own rules. RulesRefused where another try is worth it, CaptureError where it is not."""
    return _traced(module, args, inputs, named_shapes(inputs))


def named_shapes(inputs: Sequence[TensorSpec]) -> dict[str, Any]:
    """torch.export's `dynamic_shapes`: each declared dim under its name, with its range."""
    dims: dict[str, Any] = {}
    return {
        s.name: {
            axis: dims.setdefault(str(d.name), torch.export.Dim(str(d.name), min=d.min, max=d.max))
            for axis, d in enumerate(s.dims)
            if d.dynamic
        }
        for s in inputs
    }


def by_example(
    module: torch.nn.Module, args: tuple[torch.Tensor, ...], inputs: Sequence[TensorSpec], refused: RulesRefused | None
) -> Traced:
    """By the branches of the example, after torch.export's rules have `refused` the module.

    Raises RulesRefused where a dim has become a constant nevertheless.
    """
    shapes = {
        s.name: {axis: torch.export.Dim.DYNAMIC(min=d.min, max=d.max) for axis, d in enumerate(s.dims) if d.dynamic}
        for s in inputs
    }
    calls = SizedCalls()
    try:
        # Oblivious: a size of 1 takes the branch of any other size, which saves guards that few answers depend on.
        with fx_config.patch(backed_size_oblivious=True), calls:  # type: ignore[attr-defined]
            found = _traced(module, args, inputs, shapes)
    except RulesRefused as second:
        raise second if refused is None or second.by_dim or not refused.by_dim else refused from second
    return Traced(found.program, found.inputs, found.records, str(refused), calls.told())


def breaks_rules(problem: BaseException) -> bool:
    """Whether a program broke torch.export's rules while it was decomposed: sizes that only then are computed."""
    chain: BaseException | None = problem
    while chain is not None and "Constraints violated" not in str(chain):
        chain = chain.__cause__ or chain.__context__
    return chain is not None


def _traced(
    module: torch.nn.Module, args: tuple[torch.Tensor, ...], inputs: Sequence[TensorSpec], shapes: dict[str, Any]
) -> Traced:
    #: As torch.export calls the sizes of dims that have no name of their own.
    names = {f"L['{s.name}'].size()[{axis}]": str(d.name) for s in inputs for axis, d in enumerate(s.dims) if d.dynamic}
    with dynamic_shape_errors.watch(names) as records:
        try:
            program = torch.export.export(module, args, dynamic_shapes=shapes, strict=False)
        except AttnError:
            raise
        except (Exception, SystemExit) as problem:
            text = dynamic_shape_errors.explain(problem, records, inputs, names)
            if dynamic_shape_errors.is_about_data(problem) or not isinstance(problem, Exception):
                raise CaptureError(text) from problem
            fixed = dynamic_shape_errors.fixed_dims(problem, names)
            raise RulesRefused(text, text.startswith("dim"), fixed) from problem
    traced = getattr(program, "traced_inputs", None)
    return Traced(program, traced_inputs(program) if traced is None else traced, records)
