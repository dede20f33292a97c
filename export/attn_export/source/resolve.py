"""What the user names -> a module, the graphs it is exported as with their inputs, and where they came from.

attentionnet               a reference model of attn_models, with its own specs
package.module:callable    anything that returns an nn.Module (or a ModelSpec); the current folder is importable
model.pt2                  a program saved by torch.export
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attn_models import registry
from attn_models.spec import AttentionSpec, GenerationSpec, GraphSpec, ModelSpec
from attn_runtime.bundle.reader import sha256_of
from attn_runtime.compare import Tolerance
from attn_runtime.errors import AttnError, UsageError
from attn_runtime.spec import Dim, TensorSpec, named_dims
from attn_runtime.suggest import did_you_mean
from torch import nn

from ..quiet import captured_output
from ..reference.signature import Watch
from . import input_specs, pt2
from .assets import read_assets
from .checkpoint import load_checkpoint, refuse_nan, silent_gates

#: What the graph of a model is called that has one.
ONLY = "model"


@dataclass(frozen=True)
class SourceGraph:
    """One graph to export: a module in eval mode, which may share parameters with those of other graphs.

    `outputs` are the names (and meanings) that the model declares; none where it declares none. `watch` sees further
    outputs while the module runs.
    """

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...] = ()
    watch: Watch | None = None


@dataclass
class Source:
    """A module in eval mode with everything export must know about it. `notes` are told to the user once."""

    name: str
    module: nn.Module
    graphs: tuple[SourceGraph, ...]
    provenance: dict[str, Any]
    example: dict[str, np.ndarray[Any, Any]] | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    task: str | None = None
    assets: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    by_position: bool = False
    generation: GenerationSpec | None = None
    attention: tuple[AttentionSpec, ...] = ()

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())

    @property
    def graph(self) -> SourceGraph:
        """The graph of a source that has one."""
        (only,) = self.graphs
        return only


def load_source(
    ref: str,
    *,
    inputs: Sequence[str] = (),
    dims: Sequence[str] = (),
    example: Path | None = None,
    checkpoint: Path | None = None,
    config: Sequence[str] = (),
    seed: int = 0,
    graph: str | None = None,
    specs: Mapping[str, tuple[TensorSpec, ...]] | None = None,
    asset_folder: Path | None = None,
) -> Source:
    """Resolve `ref` with the options of the command line.

    `graph` takes one graph of a model that has several. `specs`, graph name -> its inputs, stand for inputs, dims and
    example where they are known already, and choose the graphs. Raises UsageError for a name or option that does not
    fit, CheckpointError for weights that don't.
    """
    arguments = parse_config(config)
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected 0 or more")
    torch.manual_seed(seed)
    notes: list[str] = []
    spec: ModelSpec | None = None
    own_inputs: tuple[TensorSpec, ...] = ()
    if ref.endswith(".pt2"):
        if arguments or checkpoint:
            raise UsageError(f"{ref} holds its own weights and code; --config and --checkpoint don't apply")
        module, own_inputs = pt2.load(Path(ref), input_specs.parse_dims(dims), declare=not (inputs or example or specs))
        kind, name = "pt2", Path(ref).stem
    elif ":" in ref:
        built, rest = _call(ref, arguments)
        spec = built if isinstance(built, ModelSpec) else None
        module = _module(ref, built.build, rest) if isinstance(built, ModelSpec) else built
        kind, name = "module", spec.name if spec else ref.rpartition(":")[2]
    else:
        if ref not in registry.names():
            raise UsageError(
                f'unknown model "{ref}"; {did_you_mean(ref, registry.names())}built in: {", ".join(registry.names())}. '
                "Your own: package.module:callable, or a .pt2 file."
            )
        spec = registry.get(ref)
        module = _module(ref, spec.build, arguments)
        kind, name = "builtin", spec.name

    if checkpoint is not None:
        load_checkpoint(module, checkpoint)
    refuse_nan(module, f"checkpoint {checkpoint}" if checkpoint else ref)
    if checkpoint is None and kind == "builtin":
        woken = f"; {spec.wake(module)}" if spec and spec.wake else ""
        notes.append(f"random weights (no --checkpoint){woken}")
    if kind != "pt2":  # a program has no modes: it is what it was exported as
        module.eval()
    if gates := silent_gates(module):
        notes.append(f"{', '.join(gates)} is 0: what it scales takes no part, and parity proves nothing about it")

    arrays = input_specs.load_example(example) if example else None
    known = spec.graphs if spec else (GraphSpec(ONLY, own_inputs, ()),)
    chosen = _choose(ref, known, graph, specs)
    if len(chosen) > 1 and not specs and (inputs or example):
        raise UsageError(
            f"{ref} has the graphs {', '.join(g.name for g in chosen)}, each with inputs of its own; "
            f"leave {'--input' if inputs else '--example'} out, or take one of them with --graph NAME"
        )
    declared = dict(specs) if specs else _declare(ref, chosen, inputs, dims, arrays, kind)
    whole = len(chosen) == len(known)
    assets = dict(spec.assets()) if spec and spec.assets else {}
    if spec and spec.generation and whole:
        assets["generation.json"] = dict(spec.generation.asset)
    if asset_folder is not None:
        assets |= read_assets(asset_folder, [tensor for g in chosen for tensor in declared[g.name]])
    return Source(
        name=name,
        module=module,
        graphs=tuple(SourceGraph(g.name, _view(ref, g, module, kind), declared[g.name], g.outputs) for g in chosen),
        provenance={
            "kind": kind,
            "ref": Path(ref).name if kind == "pt2" else ref,
            "checkpoint": {"file": checkpoint.name, "sha256": sha256_of(checkpoint)} if checkpoint else None,
            "config": json.loads(json.dumps(arguments, default=str)),
        },
        example=arrays,
        tolerance=spec.tolerance if spec else Tolerance(),
        task=spec.task if spec else None,
        assets=assets,
        notes=notes,
        by_position=kind == "pt2",
        generation=spec.generation if spec and whole else None,
        attention=spec.attention if spec else (),
    )


def _choose(
    ref: str, known: Sequence[GraphSpec], graph: str | None, specs: Mapping[str, Any] | None
) -> tuple[GraphSpec, ...]:
    """The graphs that are meant, in the model's order: all of them unless some are named."""
    names = [g.name for g in known]
    if len(set(names)) < len(names) or not names:
        raise UsageError(f"{ref} has the graphs {', '.join(names) or '(none)'}; each needs a name of its own")
    asked = list(specs) if specs else [graph] if graph else names
    for name in asked:
        if name not in names:
            raise UsageError(f'{ref} has no graph "{name}"; {did_you_mean(name, names)}it has: {", ".join(names)}')
    return tuple(g for g in known if g.name in asked)


def _view(ref: str, graph: GraphSpec, module: nn.Module, kind: str) -> nn.Module:
    """The module that `graph` is, in the mode of the whole one."""
    try:
        with captured_output():
            seen = graph.view(module)
    except AttnError:
        raise
    except Exception as problem:
        raise UsageError(
            f"{ref}: graph {graph.name}: its view failed: {type(problem).__name__}: {problem}"
        ) from problem
    if not isinstance(seen, nn.Module):
        raise UsageError(f"{ref}: graph {graph.name}: its view is a {type(seen).__name__}; expected an nn.Module")
    if kind != "pt2":
        seen.eval()  # a wrapper around the whole module begins in training mode
    return seen


def parse_config(texts: Sequence[str]) -> dict[str, Any]:
    """``["classes=10", "name=tiny"]`` -> Python values: literals where they parse, strings otherwise."""
    values: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key.isidentifier():
            raise UsageError(f"--config {text}: expected KEY=VALUE")
        if key in values:
            raise UsageError(f"--config {key}: given twice")
        try:
            values[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            values[key] = value
    return values


def _declare(
    ref: str,
    graphs: Sequence[GraphSpec],
    inputs: Sequence[str],
    dims: Sequence[str],
    example: Mapping[str, np.ndarray[Any, Any]] | None,
    kind: str,
) -> dict[str, tuple[TensorSpec, ...]]:
    """Graph name -> its inputs, with what the command line says of them. A dim's range holds in every graph that has it."""
    parsed = input_specs.parse_dims(dims)
    if len(graphs) == 1:
        return {graphs[0].name: _declare_one(ref, graphs[0].inputs, inputs, parsed, example, kind)}
    every = {g.name: named_dims(g.inputs) for g in graphs}
    known = list(dict.fromkeys(dim for own in every.values() for dim in own))
    for dim in parsed:
        if dim not in known:
            raise UsageError(
                f"--dim {dim}: no graph of {ref} has a dim of that name; {did_you_mean(dim, known)}"
                f"known: {', '.join(known) or 'none'}"
            )
    return {
        g.name: input_specs.override_dims(g.inputs, {n: d for n, d in parsed.items() if n in every[g.name]})
        for g in graphs
    }


def _declare_one(
    ref: str,
    own: tuple[TensorSpec, ...],
    inputs: Sequence[str],
    dims: Mapping[str, Dim],
    example: Mapping[str, np.ndarray[Any, Any]] | None,
    kind: str,
) -> tuple[TensorSpec, ...]:
    if inputs:
        specs = input_specs.parse_inputs(inputs, dims)
        if own and kind != "pt2" and [s.name for s in specs] != [s.name for s in own]:
            raise UsageError(
                f"{ref} has the inputs {', '.join(s.name for s in own)}; --input named {', '.join(s.name for s in specs)}"
            )
    elif example is not None and not own:
        specs = input_specs.specs_from_example(example, dims)
    elif own:
        specs = own if kind == "pt2" else input_specs.override_dims(own, dims)
    else:
        raise UsageError(
            f"{ref}: the inputs are not known; add --input 'NAME:DTYPE[AXIS,...]' with --dim, or --example FILE.npz"
        )
    if example is not None:
        _example_fits(specs, example)
    return specs


def _example_fits(specs: Sequence[TensorSpec], example: Mapping[str, np.ndarray[Any, Any]]) -> None:
    from attn_runtime.spec import check_shapes, signature

    check_shapes(specs, {name: signature(value) for name, value in example.items()}, "--example")


def _call(ref: str, arguments: Mapping[str, Any]) -> tuple[nn.Module | ModelSpec, Mapping[str, Any]]:
    """What `ref` names or returns, and the arguments that are left for a ModelSpec's own `build`."""
    module_name, _, attribute = ref.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        with captured_output():
            found = importlib.import_module(module_name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not (module_name + ".").startswith(problem.name + "."):
            raise UsageError(
                f"{ref}: importing {module_name} needs {problem.name}, which is not installed"
            ) from problem
        raise UsageError(
            f"{ref}: there is no module {problem.name} on the path or in {here}; expected package.module:callable"
        ) from problem
    except SystemExit as problem:  # a script that runs when it is imported, and its argument parser
        raise UsageError(
            f"{ref}: importing {module_name} ended with sys.exit({problem.code}); "
            "guard what the script does with: if __name__ == '__main__':"
        ) from problem
    except Exception as problem:
        raise UsageError(f"{ref}: importing {module_name} failed: {type(problem).__name__}: {problem}") from problem
    target: Any = found
    for part in attribute.split("."):
        names = [n for n in dir(target) if not n.startswith("_")]
        if not hasattr(target, part):
            shown = ", ".join(n for n in names if callable(getattr(target, n)))[:200]
            raise UsageError(f"{ref}: {module_name} has no {part}; {did_you_mean(part, names)}it has: {shown}")
        target = getattr(target, part)
    if isinstance(target, ModelSpec):
        return target, arguments
    if isinstance(target, nn.Module):
        if arguments:
            raise UsageError(f"{ref} is a module already, not a callable; --config has nothing to be passed to")
        return target, {}
    if not callable(target):
        raise UsageError(f"{ref} is a {type(target).__name__}; expected a callable that returns an nn.Module")
    return _build(ref, target, arguments), {}


def _build(ref: str, build: Any, arguments: Mapping[str, Any]) -> nn.Module | ModelSpec:
    try:
        with captured_output():
            built = build(**arguments)
    except AttnError:
        raise
    except (Exception, SystemExit) as problem:
        shown = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
        raise UsageError(f"{ref}({shown}) failed: {type(problem).__name__}: {problem}") from problem
    if not isinstance(built, (nn.Module, ModelSpec)):
        raise UsageError(f"{ref} returned a {type(built).__name__}; expected an nn.Module")
    return built


def _module(ref: str, build: Any, arguments: Mapping[str, Any]) -> nn.Module:
    built = _build(ref, build, arguments)
    if not isinstance(built, nn.Module):
        raise UsageError(f"{ref}: its build returned a {type(built).__name__}; expected an nn.Module")
    return built
