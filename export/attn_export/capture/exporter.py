"""nn.Module -> ONNX file, through torch.export and the dynamo exporter, or through TorchScript when that is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
import torch
from attn_runtime.errors import AttnError, CaptureError, UsageError
from attn_runtime.spec import TensorSpec

from ..onnx_graph import onnx_file
from ..quiet import captured_output
from ..reference import Arrays, Signature, fastpath_disabled, to_torch
from . import dynamic_shape_errors, unsupported_ops
from .dropped_guards import Branch, dropped_guards
from .patches import Applied, applied, traced_inputs

#: The highest opset whose attention every target takes: from 23 on the exporter emits the Attention operator, which
#: TensorRT-RTX builds only for half precision and some head sizes. See docs/decisions/0002.
DEFAULT_OPSET = 22
EXPORTERS = ("dynamo", "torchscript")
_OLDEST_OPSET = 18
_TORCHSCRIPT_NEWEST = 20


@dataclass(frozen=True)
class Captured:
    path: Path
    opset: int
    exporter: str
    nodes: int
    patches: list[Applied]
    branches: list[Branch] = field(default_factory=list)


def check_opset(opset: int | None, exporter: str) -> int:
    """The opset to use; UsageError for one that this exporter can't write."""
    newest = _TORCHSCRIPT_NEWEST if exporter == "torchscript" else onnx.defs.onnx_opset_version()
    if opset is None:
        return min(DEFAULT_OPSET, newest)
    if not _OLDEST_OPSET <= opset <= newest:
        raise UsageError(f"--opset {opset}: the {exporter} exporter writes {_OLDEST_OPSET}..{newest}")
    return opset


def capture(
    signature: Signature, example: Arrays, target: Path, *, opset: int, exporter: str = "dynamo", verbose: bool = False
) -> Captured:
    """Write the graph of `signature` to `target`, its dims named as declared. `signature.output_names` must be known.

    Raises CaptureError: the module branches on data, fixes a dim that was asked to be dynamic, or uses an operator
    that ONNX has no translation for.
    """
    write = _dynamo if exporter == "dynamo" else _torchscript
    with (
        captured_output(verbose),
        torch.no_grad(),
        fastpath_disabled(),
        signature.flat() as module,
        applied(module) as patches,
    ):
        model, branches = write(signature, module, tuple(to_torch(example).values()), opset, target)
    _name_outputs(model, signature)
    onnx_file.name_dims(model, signature.inputs)
    if exporter == "torchscript":
        target.unlink()
    onnx_file.save(model, target)
    found = onnx_file.read_info(target)
    return Captured(target, found.opset, exporter, found.nodes, list(patches), branches)


def _dynamo(
    signature: Signature, module: torch.nn.Module, args: tuple[torch.Tensor, ...], opset: int, target: Path
) -> tuple[ir.Model, list[Branch]]:
    dims: dict[str, Any] = {}
    shapes = {
        s.name: {
            axis: dims.setdefault(str(d.name), torch.export.Dim(str(d.name), min=d.min, max=d.max))
            for axis, d in enumerate(s.dims)
            if d.dynamic
        }
        for s in signature.inputs
    }
    with dynamic_shape_errors.watch() as records:
        try:
            program = torch.export.export(module, args, dynamic_shapes=shapes, strict=False)
        except AttnError:
            raise
        except (Exception, SystemExit) as problem:
            raise CaptureError(dynamic_shape_errors.explain(problem, records, signature.inputs)) from problem
    try:
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=opset,
            input_names=[s.name for s in signature.inputs],
            output_names=list(signature.output_names),
            verbose=False,
        )
    except (Exception, SystemExit) as problem:
        raise CaptureError(unsupported_ops.explain(problem, program)) from problem
    assert exported is not None
    traced = getattr(program, "traced_inputs", None)
    return exported.model, dropped_guards(traced_inputs(program) if traced is None else traced, signature.inputs)


def _torchscript(
    signature: Signature, module: torch.nn.Module, args: tuple[torch.Tensor, ...], opset: int, target: Path
) -> tuple[ir.Model, list[Branch]]:
    axes: dict[str, dict[int, str]] = {
        s.name: {axis: str(d.name) for axis, d in enumerate(s.dims) if d.dynamic} for s in signature.inputs
    }
    try:
        torch.onnx.export(
            module,
            args,
            target,
            dynamo=False,
            opset_version=opset,
            input_names=[s.name for s in signature.inputs],
            output_names=list(signature.output_names),
            dynamic_axes=axes,
            do_constant_folding=True,
        )
    except (Exception, SystemExit) as problem:
        raise CaptureError(unsupported_ops.explain(problem)) from problem
    model = ir.load(target)
    ir.external_data.load_to_model(model)
    return model, []


def _name_outputs(model: ir.Model, signature: Signature) -> None:
    if len(model.graph.outputs) != len(signature.output_names):
        raise CaptureError(
            f"the module returns {len(signature.output_names)} tensors, its graph {len(model.graph.outputs)}: "
            "what it returns depends on how it is called"
        )
    for value, name in zip(model.graph.outputs, signature.output_names, strict=True):
        value.name = name


def unused_inputs(path: Path, inputs: Sequence[TensorSpec]) -> list[str]:
    """Inputs that no node of the graph reads: the module ignores them, or reads them only in training."""
    graph = onnx_file.load(path).graph
    read = {value.name for value in graph.inputs if value.uses() or value.is_graph_output()}
    return [s.name for s in inputs if s.name not in read]
