"""What the user names -> a module, the graphs it is exported as with their inputs, and where they came from.

attentionnet               a reference model of attn_models, with its own specs
FOLDER, hf:ORG/NAME        a model that transformers' save_pretrained wrote
timm:NAME, torchvision:NAME    a model that these libraries know by name
package.module:callable    anything that returns an nn.Module (or a ModelSpec); the current folder is importable
model.pt2                  a program saved by torch.export
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from attn_models import extend as several_tokens
from attn_models import registry
from attn_models.spec import GraphSpec, ModelSpec
from attn_runtime.compare import Tolerance
from attn_runtime.errors import AttnError, UsageError, did_you_mean
from attn_runtime.files import is_folder
from attn_runtime.spec import Dim, TensorSpec, named_dims
from torch import nn

from ..huggingface import PREFIX
from ..huggingface.tasks import TOWERS
from ..quiet import captured_output
from ..reference import Draw, fitted
from . import input_specs, pt2
from .assets import read_assets
from .checkpoints import load_checkpoint, refuse_nan, silent_gates
from .distributions import values_of_examples
from .examples import Example, check_example, load_example, specs_from_examples
from .import_ref import build_module, import_target, parse_config
from .inputs_from import OWN_FIT, UserDraw, draw_with
from .types import ONLY, Source, SourceGraph

#: The kind of a saved model of transformers.
SAVED = "huggingface"
#: Libraries that know models by name, as in timm:NAME.
_LIBRARIES = ("timm", "torchvision")
#: Kinds of sources whose ranges are derived: a user has asked for none of them.
DERIVED = (SAVED, *_LIBRARIES)


@dataclass(frozen=True)
class _Model:
    """What a name led to: `kind` as the manifest has it; `ref` is what it is called in messages, `told` goes into the
    manifest's source, and `notes` to the user."""

    kind: str
    name: str
    ref: str
    module: nn.Module
    spec: ModelSpec | None = None
    inputs: tuple[TensorSpec, ...] = ()
    told: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @property
    def called(self) -> str:
        """Its name in the manifest: of a file or a folder without where it lay."""
        if self.kind == "pt2":
            return Path(self.ref).name
        return self.name if self.kind == SAVED and not self.ref.startswith(PREFIX) else self.ref


def load_source(
    ref: str | nn.Module,
    *,
    inputs: Sequence[str] = (),
    dims: Sequence[str] = (),
    example: Path | Sequence[Path] | None = None,
    inputs_from: str | UserDraw | None = None,
    checkpoint: Path | None = None,
    checkpoint_key: str | None = None,
    config: Sequence[str] = (),
    seed: int = 0,
    graph: str | None = None,
    specs: Mapping[str, tuple[TensorSpec, ...]] | None = None,
    asset_folder: Path | None = None,
    task: str | None = None,
    revision: str | None = None,
    download: bool = False,
    graphs: Sequence[str] = (),
    extend: bool = False,
) -> Source:
    """Resolve `ref`, a name as on the command line or a module of the caller's, with the options of the command line.

    A module is put in eval mode, and `checkpoint` is loaded into it: what lies under `checkpoint_key`, or what fits.
    `graph` takes one graph of a model that has several.
    `inputs_from`, a callable or its "package.module:callable", draws the inputs of every case; `source.inputs_from` has more.
    `task`, `revision`, `download` and `graphs` are of a saved Hugging Face model, a folder or hf:ORG/NAME; `load_huggingface`
    says what they mean. A `checkpoint` is loaded over the weights of its folder.
    `extend` adds the graph of that name to a generator's, which reads several tokens at once.
    `specs`, graph name -> its inputs, stand for inputs, dims and example where they are known already, and choose the
    graphs. Raises UsageError for a name or option that does not fit, CheckpointError for weights that don't.
    """
    arguments = parse_config(config)
    if seed < 0:
        raise UsageError(f"--seed {seed}: expected 0 or more")
    torch.manual_seed(seed)
    notes: list[str] = []
    files = (example,) if isinstance(example, (str, Path)) else tuple(example or ())
    if isinstance(ref, nn.Module):
        model = _given(ref, arguments)
    elif ref.endswith(".pt2"):
        if arguments or checkpoint:
            raise UsageError(f"{ref} holds its own weights and code; --config and --checkpoint don't apply")
        declare = not (inputs or files or specs)
        module, own_inputs = pt2.load(Path(ref), input_specs.parse_dims(dims), declare=declare)
        model = _Model("pt2", Path(ref).stem, ref, module, inputs=own_inputs)
    elif is_saved_model(ref):
        if arguments:
            raise UsageError(f"--config {next(iter(arguments))}: {ref} is a saved model, and has its own config.json")
        model = _saved(ref, task, revision, download, tuple(graphs) or _towers(specs))
    elif ref.partition(":")[0] in _LIBRARIES:
        model = _of_library(ref, arguments, download, checkpoint is not None)
    else:
        model = _named(ref, arguments)
    if extend or _is_known_to_have_extend(model.spec, specs):
        model = replace(model, spec=_with_extend(model))
    ref, module, kind, spec = model.ref, model.module, model.kind, model.spec
    if kind != SAVED and (
        said := _said(task=task, revision=revision, graphs=graphs, download=download and kind not in _LIBRARIES)
    ):
        raise UsageError(f"{said} belongs to a saved Hugging Face model, a folder or hf:ORG/NAME; {ref} is none")

    if checkpoint_key is not None and checkpoint is None:
        raise UsageError(f"--checkpoint-key {checkpoint_key}: there is no --checkpoint that it would lie in")
    weights = None if checkpoint is None else load_checkpoint(module, checkpoint, checkpoint_key)
    if weights is not None:
        notes.extend(weights.notes)
    refuse_nan(module, f"checkpoint {checkpoint}" if checkpoint else ref)
    if checkpoint is None and kind == "builtin":
        woken = f"; {spec.wake(module)}" if spec and spec.wake else ""
        notes.append(f"random weights (no --checkpoint){woken}")
    if kind != "pt2":  # a program has no modes: it is what it was exported as
        module.eval()
    if gates := silent_gates(module):
        notes.append(f"{', '.join(gates)} is 0: what it scales takes no part, and parity proves nothing about it")

    examples = [load_example(Path(file)) for file in files]
    known = spec.graphs if spec else (GraphSpec(ONLY, model.inputs, ()),)
    chosen = _choose(ref, known, graph, specs)
    of_one = {"--input": inputs and not specs, "--example": examples and not specs, "--inputs-from": inputs_from}
    if len(chosen) > 1 and any(of_one.values()):
        raise UsageError(
            f"{ref} has the graphs {', '.join(g.name for g in chosen)}, each with inputs of its own; "
            f"leave {next(name for name, given in of_one.items() if given)} out, or take one of them with --graph NAME"
        )
    declared = dict(specs) if specs else _declare(ref, chosen, inputs, dims, examples, kind)
    if extend and spec and spec.generation and len(chosen) > 1 and not specs:
        # Its cache has as many entries as that of the step, whatever range was asked for.
        count = declared[several_tokens.NAME][0].dims[1]
        declared[several_tokens.NAME] = several_tokens.extend_inputs(declared[spec.generation.asset["step"]], count)
    drawn_by, draw = draw_with(inputs_from, declared[chosen[0].name]) if inputs_from is not None else (None, None)
    if draw is None and any(part.fit is not None for part in chosen):
        drawn_by = OWN_FIT
    if examples and draw is None:
        declared[chosen[0].name], told = values_of_examples(declared[chosen[0].name], [e.arrays for e in examples])
        notes.extend(told)
    whole = len(chosen) == len(known)
    assets = dict(spec.assets()) if spec and spec.assets else {}
    if spec and spec.generation and whole:
        assets["generation.json"] = dict(spec.generation.asset)
    if asset_folder is not None:
        assets |= read_assets(asset_folder, [tensor for g in chosen for tensor in declared[g.name]])
    notes[:0] = model.notes  # the assets have told theirs by now
    return Source(
        name=model.name,
        module=module,
        graphs=tuple(
            SourceGraph(
                g.name, _view(ref, g, module, kind), declared[g.name], g.outputs, draw=draw or _fitted(g, declared)
            )
            for g in chosen
        ),
        provenance={
            "kind": kind,
            "ref": model.called,
            "checkpoint": {"file": weights.file, "sha256": weights.sha256} if weights else model.told.get("checkpoint"),
            "config": json.loads(json.dumps(arguments, default=str)),
        }
        | {key: value for key, value in model.told.items() if key != "checkpoint"}
        | ({"inputs_from": drawn_by} if drawn_by else {}),
        examples=tuple(example.arrays for example in examples),
        tolerance=spec.tolerance if spec else Tolerance(),
        task=spec.task if spec else None,
        assets=assets,
        notes=notes,
        by_position=kind == "pt2",
        generation=spec.generation if spec and whole else None,
        attention=spec.attention if spec else (),
    )


def _is_known_to_have_extend(spec: ModelSpec | None, specs: Mapping[str, Any] | None) -> bool:
    """Whether the graphs of a bundle that is held against its source have one that the source has where it is wanted."""
    can = spec is not None and spec.generation is not None and spec.generation.extend is not None
    return can and several_tokens.NAME in (specs or ())


def _with_extend(model: _Model) -> ModelSpec:
    if model.spec is None:
        raise UsageError(f"--with-extend: {model.ref} is no generator with graphs of its own; leave it out")
    return several_tokens.with_extend(model.spec)


def is_saved_model(ref: str) -> bool:
    """Whether `ref` means a saved model: hf:..., a folder that is there, or what is written as a path.

    A name that is built in stays it, whatever lies in the current folder: ./NAME is the folder.
    """
    if ref.startswith(PREFIX):
        return True
    if ref in registry.names():
        return False
    written = ref.startswith(("~", ".")) or "/" in ref or os.sep in ref
    return is_folder(Path(ref).expanduser()) or (written and ":" not in ref)


def _saved(ref: str, task: str | None, revision: str | None, download: bool, graphs: Sequence[str]) -> _Model:
    from .library_models import load_huggingface

    loaded = load_huggingface(ref, task, revision, download, graphs)
    said = {"task": task, "revision": revision, "graphs": list(graphs)}
    told = {**loaded.provenance, "config": {key: value for key, value in said.items() if value}}
    return _Model(SAVED, loaded.name, ref, loaded.module, loaded.spec, told=told, notes=loaded.notes)


def _of_library(ref: str, arguments: Mapping[str, Any], download: bool, checkpoint: bool) -> _Model:
    from .library_models import load_timm, load_torchvision

    library, _, name = ref.partition(":")
    load = load_timm if library == "timm" else load_torchvision
    loaded = load(name, arguments, download=download, checkpoint=checkpoint)
    return _Model(library, loaded.name, ref, loaded.module, loaded.spec, told=loaded.provenance, notes=loaded.notes)


def _towers(specs: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The graphs of a bundle that is held against its source, where it has one for each tower."""
    names = tuple(specs or ())
    return names if names and set(names) <= set(TOWERS) else ()


def _said(**options: Any) -> str | None:
    """The first option that was given, as the command line has it."""
    return next((f"--{name}" for name, value in options.items() if value), None)


def _fitted(graph: GraphSpec, declared: Mapping[str, tuple[TensorSpec, ...]]) -> Draw | None:
    """The draw of a graph whose inputs depend on one another; None for any other."""
    return None if graph.fit is None else fitted(declared[graph.name], graph.fit)


def _given(module: nn.Module, arguments: Mapping[str, Any]) -> _Model:
    """A module of the caller's."""
    maker = type(module)
    if arguments:
        raise UsageError(
            f"a {maker.__name__} is a module already, not a callable; --config has nothing to be passed to"
        )
    return _Model("module", maker.__name__, f"{maker.__module__}:{maker.__qualname__}", module)


def _named(ref: str, arguments: Mapping[str, Any]) -> _Model:
    """A model that is built in, or that package.module:callable names."""
    if ":" in ref:
        built, rest = import_target(ref, arguments)
        if isinstance(built, ModelSpec):
            return _Model("module", built.name, ref, build_module(ref, built.build, rest), built)
        return _Model("module", ref.rpartition(":")[2], ref, built)
    if ref not in registry.names():
        raise UsageError(
            f'unknown model "{ref}"; {did_you_mean(ref, registry.names())}built in: {", ".join(registry.names())}. '
            "Your own: package.module:callable, a folder of a saved Hugging Face model, or a .pt2 file."
        )
    spec = registry.get(ref)
    return _Model("builtin", spec.name, ref, build_module(ref, spec.build, arguments), spec)


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


def _declare(
    ref: str,
    graphs: Sequence[GraphSpec],
    inputs: Sequence[str],
    dims: Sequence[str],
    examples: Sequence[Example],
    kind: str,
) -> dict[str, tuple[TensorSpec, ...]]:
    """Graph name -> its inputs, with what the command line says of them. A dim's range holds in every graph that has it."""
    parsed = input_specs.parse_dims(dims)
    if len(graphs) == 1:
        return {graphs[0].name: _declare_one(ref, graphs[0].inputs, inputs, parsed, examples, kind)}
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
    examples: Sequence[Example],
    kind: str,
) -> tuple[TensorSpec, ...]:
    if inputs:
        specs = input_specs.parse_inputs(inputs, dims)
        if own and kind != "pt2" and [s.name for s in specs] != [s.name for s in own]:
            raise UsageError(
                f"{ref} has the inputs {', '.join(s.name for s in own)}; --input named {', '.join(s.name for s in specs)}"
            )
    elif examples and not own:
        specs = specs_from_examples(examples, dims)
    elif own:
        specs = own if kind == "pt2" else input_specs.override_dims(own, dims)
    else:
        raise UsageError(
            f"{ref}: the inputs are not known; add --input 'NAME:DTYPE[AXIS,...]' with --dim, or --example FILE.npz"
        )
    for example in examples:
        check_example(specs, example)
    return specs
