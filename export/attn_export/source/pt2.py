"""A ``.pt2`` program, saved by ``torch.export.save``, as a module and its input specs; loaded without pickle.

``torch.export.load`` falls back to unrestricted pickle for weights, constants and sample inputs, and evaluates the
text of symbolic sizes through sympy, so that a hostile file could run code. Here both doors are shut: every
``torch.load`` on the way is ``weights_only``, pickled objects are refused, and size expressions may hold arithmetic only.
"""

from __future__ import annotations

import json
import logging
import pickle
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from attn_runtime.errors import CaptureError, CheckpointError, UsageError
from attn_runtime.files import irregular, is_file, not_utf8
from attn_runtime.spec import Dim, TensorSpec
from torch import nn

from ..quiet import captured_output

_UNBOUNDED = 1 << 30
#: What a size may be made of: sympy's own notation for symbols and arithmetic, as in
#: ``Add(Symbol('s0', integer=True), Integer(1))``. No attribute, no lower-case name, no text but a plain symbol.
_SIZE = re.compile(
    r"(?:\s|[-+*/%(),<>=!&|~]|\d+(?:\.\d+)?|(?:s|u|zuf|zf)\d+|'[A-Za-z]\w*'|[a-z]+=(?:True|False)|[A-Z][A-Za-z]*|true|false)*"
)


def load(path: Path, dims: Mapping[str, Dim], declare: bool = True) -> tuple[nn.Module, tuple[TensorSpec, ...]]:
    """The program's module and its inputs, which it takes by position.

    `dims` gives ranges to symbolic dims, by the program's own names (s0, ...). With `declare` off the caller knows the
    inputs, and none are returned.

    Raises CaptureError for inputs that are not positional tensors, CheckpointError for a file that is missing, damaged
    or holds pickled code, UsageError for a dim that the program leaves unbounded and the user did not bound.
    """
    with captured_output():
        program = _load_without_pickle(path)
        module = program.module()
    if (spec := program.call_spec.in_spec) is not None:
        positional, keywords = spec.children()
        if keywords.num_leaves or any(not child.is_leaf() for child in positional.children()):
            raise CaptureError(
                f"{path}: exported with keyword arguments or nested inputs; export it again with tensors by position: "
                "torch.export.export(module, (tensor, ...))"
            )
    if not declare:
        return module, ()
    example = _example_sizes(program)
    used: dict[str, Dim] = {}
    specs: list[TensorSpec] = []
    values = {n.name: n.meta["val"] for n in program.graph.nodes if n.op == "placeholder"}
    for name in program.graph_signature.user_inputs:
        value = values.get(str(name))
        if not isinstance(value, torch.Tensor):
            raise CaptureError(
                f"{path}: input {name} is a {type(value).__name__}, not a tensor; only tensors can cross"
            )
        axes = tuple(_dim(path, axis, program, dims, used, example) for axis in value.shape)
        dtype = str(value.dtype).removeprefix("torch.")
        integer = not value.is_floating_point() and dtype != "bool"
        low, high = _integer_range(program, str(name)) if integer else (None, None)
        specs.append(TensorSpec(str(name), dtype, axes, low=low, high=high))
    if unknown := [d for d in dims if d not in used]:
        raise UsageError(f"--dim {unknown[0]}: {path} has no such dim; it has: {', '.join(used) or 'fixed sizes only'}")
    return module, tuple(specs)


def _dim(
    path: Path,
    axis: Any,
    program: torch.export.ExportedProgram,
    dims: Mapping[str, Dim],
    used: dict[str, Dim],
    example: Mapping[str, int],
) -> Dim:
    if isinstance(axis, int):
        return Dim.fixed(axis)
    name = str(axis)
    if not name.isidentifier():
        raise CaptureError(
            f"{path}: an input axis is the expression {name}; only plain symbols and sizes are supported"
        )
    if name not in used:
        bounds = program.range_constraints.get(axis.node.expr)
        low = max(int(bounds.lower), 1) if bounds else 1
        # an open end is a symbol of torch's own, not a number
        high = int(bounds.upper) if bounds and bounds.upper.is_Integer and bounds.upper < _UNBOUNDED else None
        if name in dims:
            used[name] = dims[name]
        elif high is None:
            raise UsageError(
                f"{path}: dim {name} has no upper bound (example size {example.get(name, '?')}); add --dim {name}=MIN:OPT:MAX"
            )
        else:
            used[name] = Dim(name, low, min(max(example.get(name, low), low), high), high)
    return used[name]


def _example_tensors(program: torch.export.ExportedProgram) -> dict[str, torch.Tensor]:
    """Input name -> the tensor that the program was exported with; empty when none was saved."""
    leaves = torch.utils._pytree.tree_leaves(program.example_inputs or ())
    tensors = [a for a in leaves if isinstance(a, torch.Tensor)]
    return {str(n): t for n, t in zip(program.graph_signature.user_inputs, tensors, strict=False)}


def _example_sizes(program: torch.export.ExportedProgram) -> dict[str, int]:
    """symbol -> its size in the inputs that the program was exported with."""
    sizes: dict[str, int] = {}
    example = _example_tensors(program)
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in example:
            axes = zip(node.meta["val"].shape, example[node.name].shape, strict=False)
            sizes.update({str(a): n for a, n in axes if not isinstance(a, int)})
    return sizes


def _integer_range(program: torch.export.ExportedProgram, name: str) -> tuple[int, int]:
    """Integers are drawn from what the saved example holds; a program says nothing else of their range."""
    tensor = _example_tensors(program).get(name)
    if tensor is not None and tensor.numel():
        return min(int(tensor.min()), 0), int(tensor.max()) + 1
    raise UsageError(
        f"input {name} is of integers whose range is not known; add --input '{name}:int64[...]<HIGH' with --dim"
    )


def _load_without_pickle(path: Path) -> torch.export.ExportedProgram:
    if not is_file(path):
        raise CheckpointError(f"program {path}: {irregular(path) or 'no such file'}")
    if not_text := not_utf8(path):
        raise CheckpointError(f"program {path}: its path {not_text}")
    try:
        _refuse_expressions(path)
        with _no_pickle():
            return torch.export.load(path)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as problem:
        raise CheckpointError(
            f"program {path} holds pickled objects that could run code, so it was not loaded; "
            "save it again with torch.export.save from a module whose constants are plain tensors"
        ) from problem
    except Exception as problem:
        reason = (str(problem).splitlines() or [type(problem).__name__])[0][:200]
        raise CheckpointError(
            f"program {path} is no readable .pt2 of this torch ({torch.__version__}): {reason}"
        ) from problem


def _refuse_expressions(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".json"):
                for text in _expressions(json.loads(archive.read(name))):
                    if not _SIZE.fullmatch(text):
                        raise CheckpointError(
                            f"program {path}: a size is {text[:80]!r}, which is no arithmetic; not loaded"
                        )


def _expressions(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "expr_str" and isinstance(inner, str):
                yield inner
            # range constraints and symbol tables are keyed by the expression itself
            if key == "range_constraints" and isinstance(inner, dict):
                yield from inner
            yield from _expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _expressions(inner)


@contextmanager
def _no_pickle() -> Iterator[None]:
    load = torch.load

    def weights_only(*args: Any, **options: Any) -> Any:
        return load(*args, **{**options, "weights_only": True})

    def refuse(*_: Any, **__: Any) -> Any:
        raise pickle.UnpicklingError("pickled object")

    logger = logging.getLogger("torch.export")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            mock.patch.object(torch, "load", weights_only),
            mock.patch.object(torch._C, "_pickle_load_obj", refuse),
            mock.patch.object(pickle, "loads", refuse),
        ):
            yield
    finally:
        logger.setLevel(before)
