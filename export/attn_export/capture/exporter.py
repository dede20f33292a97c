"""nn.Module -> ONNX file, through torch.export and the dynamo exporter, or through TorchScript when that is asked for."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnx_ir as ir
import torch
from attn_runtime.errors import CaptureError, UsageError
from attn_runtime.spec import TensorSpec

from ..onnx_graph import GraphInfo, onnx_file
from ..quiet import captured_output
from ..reference import Arrays, Signature, fastpath_disabled, to_torch
from . import unsupported_ops
from .deferred import branches_of, told
from .dropped_guards import Branch
from .exact_constants import exact_constants
from .mapped_weights import Written, map_written, written_weights
from .operator_table import kept_table
from .patches import Applied, applied
from .time_limit import time_limit
from .tracing import RulesRefused, Traced, breaks_rules, by_example, by_rules

#: The highest opset whose attention every target takes: from 23 on the exporter emits the Attention operator, which
#: TensorRT-RTX builds only for half precision and some head sizes. See docs/decisions/0002.
DEFAULT_OPSET = 22
EXPORTERS = ("dynamo", "torchscript")
_OLDEST_OPSET = 18
_TORCHSCRIPT_NEWEST = 20


@dataclass(frozen=True)
class Captured:
    """A graph as it was captured. unused: inputs that no node reads, for the module ignores them, or reads them only in training;
    branches: guards that sizes in the declared ranges break; deferred: torch.export's own rules were put off to the checks."""

    path: Path
    info: GraphInfo
    exporter: str
    unused: list[str]
    patches: list[Applied]
    branches: list[Branch] = field(default_factory=list)
    deferred: bool = False


def check_opset(opset: int | None, exporter: str) -> int:
    """The opset to use; UsageError for one that this exporter can't write."""
    newest = _TORCHSCRIPT_NEWEST if exporter == "torchscript" else onnx.defs.onnx_opset_version()
    if opset is None:
        return min(DEFAULT_OPSET, newest)
    if not _OLDEST_OPSET <= opset <= newest:
        raise UsageError(f"--opset {opset}: the {exporter} exporter writes {_OLDEST_OPSET}..{newest}")
    return opset


def capture(
    signature: Signature, example: Arrays, target: Path, *, opset: int, exporter: str = "dynamo", verbose: bool = False,
    seconds: float = math.inf, map_weights: bool = False,
) -> Captured:  # fmt: skip
    """Write the graph of `signature` to `target`, its dims named as declared. `signature.output_names` must be known.

    `map_weights` lets the module's large weights be those in the data file of `target`, where it has one (`mapped_weights`): the
    module goes on as it was, and its weights may be written to, but not that file.

    Raises CaptureError: the module branches on data, fixes a dim that was asked to be dynamic, or uses an operator
    that ONNX has no translation for. StageError: it took longer than `seconds`.
    """
    done, weights = _captured(signature, example, target, opset, exporter, verbose, seconds, map_weights)
    if map_written(weights, target):
        gc.collect()  # a program and its graph are full of cycles, and hold what the module held
    return done


def _captured(
    signature: Signature,
    example: Arrays,
    target: Path,
    opset: int,
    exporter: str,
    verbose: bool,
    seconds: float,
    map_weights: bool,
) -> tuple[Captured, list[Written]]:
    """The graph, written, and which weights of the module can be mapped from there: none unless `map_weights`."""
    started = time.monotonic()
    args = tuple(to_torch(example).values())
    traced: Traced | None = None
    with captured_output(verbose), torch.no_grad(), fastpath_disabled(), signature.flat() as module:
        if exporter == "torchscript":
            with applied(module) as patches, time_limit(seconds, started, module):
                model = _torchscript(signature, module, args, opset, target)
        else:
            refused: RulesRefused | None = None
            for trace in (by_rules, by_example):
                # Anew: each patch tells what it did in the trace that counts. The limit ends before they are taken back.
                with applied(module) as patches, time_limit(seconds, started, module):
                    try:
                        traced = trace(module, args, signature.inputs, refused)
                        model = _translated(signature, traced.program, opset)
                        break
                    except RulesRefused as problem:
                        refused = problem
            else:
                assert refused is not None
                raise refused
    branches = [] if traced is None else branches_of(traced, signature.inputs)
    deferred = traced is not None and bool(traced.refused)
    if traced is not None and deferred:
        patches.append(told(traced, branches))
    _name_outputs(model, signature)
    onnx_file.name_dims(model, signature.inputs)
    if exporter == "torchscript":
        target.unlink()
    weights = written_weights(signature.module, model.graph) if map_weights else []
    onnx_file.save(model, target)
    for value in model.graph.initializers.values():
        value.const_value = None  # the rewrite rules of onnxscript (0.7.2) hold the graph that they saw last, for good
    found = onnx_file.load(target)
    unused = _unused(found, signature.inputs)
    return Captured(target, onnx_file.info_of(found), exporter, unused, list(patches), branches, deferred), weights


def _translated(signature: Signature, program: torch.export.ExportedProgram, opset: int) -> ir.Model:
    try:
        with kept_table(), exact_constants():
            exported = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=opset,
                input_names=[s.name for s in signature.inputs],
                output_names=list(signature.output_names),
                verbose=False,
            )
    except (Exception, SystemExit) as problem:
        text = unsupported_ops.explain(problem, program)
        raise RulesRefused(text, False) if breaks_rules(problem) else CaptureError(text) from problem
    assert exported is not None
    return exported.model


def _torchscript(
    signature: Signature, module: torch.nn.Module, args: tuple[torch.Tensor, ...], opset: int, target: Path
) -> ir.Model:
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
    return model


def _name_outputs(model: ir.Model, signature: Signature) -> None:
    if len(model.graph.outputs) != len(signature.output_names):
        raise CaptureError(
            f"the module returns {len(signature.output_names)} tensors, its graph {len(model.graph.outputs)}: "
            "what it returns depends on how it is called"
        )
    for value, name in zip(model.graph.outputs, signature.output_names, strict=True):
        value.name = name


def _unused(model: ir.Model, inputs: Sequence[TensorSpec]) -> list[str]:
    read = {value.name for value in model.graph.inputs if value.uses() or value.is_graph_output()}
    return [s.name for s in inputs if s.name not in read]
