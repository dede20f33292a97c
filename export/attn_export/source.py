"""What the user names -> a module, its inputs, and where they came from.

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
from attn_models.spec import ModelSpec
from attn_runtime.bundle import sha256_of
from attn_runtime.compare import Tolerance
from attn_runtime.errors import AttnError, UsageError
from attn_runtime.nearest import did_you_mean
from attn_runtime.spec import TensorSpec
from torch import nn

from . import pt2, shapes
from .chatter import hushed
from .checkpoint import load_checkpoint, refuse_nan, silent_gates


@dataclass
class Source:
    """A module in eval mode with everything export must know about it. `notes` are told to the user once."""

    name: str
    module: nn.Module
    inputs: tuple[TensorSpec, ...]
    provenance: dict[str, Any]
    outputs: tuple[TensorSpec, ...] = ()
    example: dict[str, np.ndarray[Any, Any]] | None = None
    tolerance: Tolerance = field(default_factory=Tolerance)
    task: str | None = None
    assets: Mapping[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    by_position: bool = False

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.module.parameters())


def load_source(
    ref: str,
    *,
    inputs: Sequence[str] = (),
    dims: Sequence[str] = (),
    example: Path | None = None,
    checkpoint: Path | None = None,
    config: Sequence[str] = (),
    seed: int = 0,
    specs: tuple[TensorSpec, ...] | None = None,
) -> Source:
    """Resolve `ref` with the options of the command line; `specs`, where known, stand for inputs, dims and example.

    Raises UsageError for a name or option that does not fit, CheckpointError for weights that don't.
    """
    arguments = parse_config(config)
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected 0 or more")
    torch.manual_seed(seed)
    notes: list[str] = []
    spec: ModelSpec | None = None
    if ref.endswith(".pt2"):
        if arguments or checkpoint:
            raise UsageError(f"{ref} holds its own weights and code; --config and --checkpoint don't apply")
        module, own_inputs = pt2.load(Path(ref), shapes.parse_dims(dims), declare=not (inputs or example or specs))
        kind, name = "pt2", Path(ref).stem
    elif ":" in ref:
        built = _call(ref, arguments)
        spec = built if isinstance(built, ModelSpec) else None
        module = _build(ref, spec.build, arguments) if spec else built
        kind, name = "module", spec.name if spec else ref.rpartition(":")[2]
        own_inputs = spec.graph.inputs if spec else ()
    else:
        if ref not in registry.names():
            raise UsageError(
                f'unknown model "{ref}"; {did_you_mean(ref, registry.names())}built in: {", ".join(registry.names())}. '
                "Your own: package.module:callable, or a .pt2 file."
            )
        spec = registry.get(ref)
        module = _build(ref, spec.build, arguments)
        kind, name, own_inputs = "builtin", spec.name, spec.graph.inputs

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

    arrays = shapes.load_example(example) if example else None
    return Source(
        name=name,
        module=module,
        inputs=specs or _declare(ref, own_inputs, inputs, dims, arrays, kind),
        provenance={
            "kind": kind,
            "ref": Path(ref).name if kind == "pt2" else ref,
            "checkpoint": {"file": checkpoint.name, "sha256": sha256_of(checkpoint)} if checkpoint else None,
            "config": json.loads(json.dumps(arguments, default=str)),
        },
        outputs=spec.graph.outputs if spec else (),
        example=arrays,
        tolerance=spec.tolerance if spec else Tolerance(),
        task=spec.task if spec else None,
        assets=spec.assets() if spec and spec.assets else {},
        notes=notes,
        by_position=kind == "pt2",
    )


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
    own: tuple[TensorSpec, ...],
    inputs: Sequence[str],
    dims: Sequence[str],
    example: Mapping[str, np.ndarray[Any, Any]] | None,
    kind: str,
) -> tuple[TensorSpec, ...]:
    parsed = shapes.parse_dims(dims)
    if inputs:
        specs = shapes.parse_inputs(inputs, parsed)
        if own and kind != "pt2" and [s.name for s in specs] != [s.name for s in own]:
            raise UsageError(
                f"{ref} has the inputs {', '.join(s.name for s in own)}; --input named {', '.join(s.name for s in specs)}"
            )
    elif example is not None and not own:
        specs = shapes.specs_from_example(example, parsed)
    elif own:
        specs = own if kind == "pt2" else shapes.override_dims(own, parsed)
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


def _call(ref: str, arguments: Mapping[str, Any]) -> Any:
    module_name, _, attribute = ref.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # as `python -m` does
    try:
        with hushed():
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
        return target
    if isinstance(target, nn.Module):
        if arguments:
            raise UsageError(f"{ref} is a module already, not a callable; --config has nothing to be passed to")
        return target
    if not callable(target):
        raise UsageError(f"{ref} is a {type(target).__name__}; expected a callable that returns an nn.Module")
    return _build(ref, target, arguments)


def _build(ref: str, build: Any, arguments: Mapping[str, Any]) -> nn.Module:
    try:
        with hushed():
            module = build(**arguments)
    except AttnError:
        raise
    except (Exception, SystemExit) as problem:
        shown = ", ".join(f"{k}={v!r}" for k, v in arguments.items())
        raise UsageError(f"{ref}({shown}) failed: {type(problem).__name__}: {problem}") from problem
    if not isinstance(module, nn.Module):
        raise UsageError(f"{ref} returned a {type(module).__name__}; expected an nn.Module")
    return module
