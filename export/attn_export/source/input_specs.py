"""The words in which a user declares inputs: ``image:float32[batch,3,height,width]`` and ``batch=1:8:32``.

Grammar of an input:  NAME ':' DTYPE '[' AXIS (',' AXIS)* ']' ( '<' HIGH )?     AXIS is a size or a dim's name
Grammar of a dim:     NAME '=' SIZE   |   NAME '=' MIN ':' OPT ':' MAX
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from attn_runtime.bundle import odd_bool
from attn_runtime.errors import UsageError
from attn_runtime.files import irregular
from attn_runtime.spec import DTYPES, Dim, TensorSpec, named_dims
from attn_runtime.suggest import did_you_mean

_INPUT = re.compile(r"(?P<name>[\w.]+):(?P<dtype>\w+)\[(?P<axes>[^\]]*)\](?:<(?P<high>\d+))?")
_DIM = re.compile(r"(?P<name>[\w.]+)=(?P<sizes>\d+(?::\d+:\d+)?)")
_AXIS_NAME = re.compile(r"[A-Za-z_]\w*")


def parse_dims(texts: Sequence[str]) -> dict[str, Dim]:
    """``["batch=1:8:32", "T=128"]`` -> name -> Dim. UsageError for a text that does not parse, or a name given twice."""
    dims: dict[str, Dim] = {}
    for text in texts:
        match = _DIM.fullmatch(text.strip())
        if not match:
            raise UsageError(f"--dim {text}: expected NAME=MIN:OPT:MAX or NAME=SIZE, as in batch=1:8:32")
        name = match["name"]
        if name in dims:
            raise UsageError(f"--dim {name}: given twice")
        sizes = [int(s) for s in match["sizes"].split(":")]
        low, opt, high = sizes * 3 if len(sizes) == 1 else sizes
        if low < 1:
            raise UsageError(f"--dim {text}: sizes start at 1")
        dims[name] = Dim(name, low, opt, high)
    return dims


def parse_inputs(texts: Sequence[str], dims: Mapping[str, Dim]) -> tuple[TensorSpec, ...]:
    """Inputs in the order given. Every named axis needs a dim of that name, and every dim an axis."""
    specs: list[TensorSpec] = []
    for text in texts:
        match = _INPUT.fullmatch(text.replace(" ", ""))
        if not match:
            raise UsageError(
                f"--input {text}: expected NAME:DTYPE[AXIS,...], as in 'image:float32[batch,3,32,32]' "
                "or 'tokens:int64[batch,T]<30000'"
            )
        if match["dtype"] not in DTYPES:
            raise UsageError(
                f"--input {text}: unknown dtype {match['dtype']}; {did_you_mean(match['dtype'], sorted(DTYPES))}"
            )
        if any(s.name == match["name"] for s in specs):
            raise UsageError(f"--input {match['name']}: given twice")
        axes = tuple(_axis(text, a, dims) for a in match["axes"].split(",")) if match["axes"] else ()
        high = int(match["high"]) if match["high"] else None
        integer = np.dtype(match["dtype"]).kind in "iu"
        if integer and high is None:
            raise UsageError(
                f"--input {text}: an integer input needs a range to draw from; append <SIZE, as in {text}<1000"
            )
        if high is not None and not integer:
            raise UsageError(f"--input {text}: a range (<{high}) is for integers, and this is {match['dtype']}")
        if high == 0:
            raise UsageError(f"--input {text}: the range <0 is empty")
        if high is not None and high - 1 > np.iinfo(match["dtype"]).max:
            raise UsageError(
                f"--input {text}: {match['dtype']} ends at {np.iinfo(match['dtype']).max}, before {high - 1}"
            )
        specs.append(TensorSpec(match["name"], match["dtype"], axes, low=0 if integer else None, high=high))
    _all_used(dims, specs)
    return tuple(specs)


def _axis(text: str, axis: str, dims: Mapping[str, Dim]) -> Dim:
    if axis.isdecimal():
        if int(axis) < 1:
            raise UsageError(f"--input {text}: axis {axis}: sizes start at 1")
        return Dim.fixed(int(axis))
    if not _AXIS_NAME.fullmatch(axis):
        raise UsageError(f"--input {text}: axis '{axis}' is neither a size nor a name")
    if axis not in dims:
        raise UsageError(
            f"--input {text}: dim {axis} has no size; add --dim {axis}=1:8:32 (min:opt:max) or --dim {axis}=8"
        )
    return dims[axis]


def _all_used(dims: Mapping[str, Dim], specs: Sequence[TensorSpec]) -> None:
    used = named_dims(specs)
    for name in dims:
        if name not in used:
            known = ", ".join(used) or "none"
            raise UsageError(
                f"--dim {name}: no input has a dim of that name; {did_you_mean(name, list(used))}known: {known}"
            )


def override_dims(specs: Sequence[TensorSpec], dims: Mapping[str, Dim]) -> tuple[TensorSpec, ...]:
    """The same inputs with other ranges, for models that carry their own specs."""
    _all_used(dims, specs)
    return tuple(replace(s, dims=tuple(dims.get(d.name, d) if d.name else d for d in s.dims)) for s in specs)


def load_example(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays of an .npz (never unpickled) or .safetensors file, by name. UsageError when it can't be read."""
    arrays = _read_example(path)
    for name, value in arrays.items():
        if (byte := odd_bool(value)) is not None:
            raise UsageError(f"--example {path}: {name} is bool and holds a byte {byte}, expected 0 and 1 alone")
    return arrays


def _read_example(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    if not path.is_file():
        raise UsageError(f"--example {path}: {irregular(path) or 'no such file'}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise UsageError(f"--example {path}: one bare array; names are needed: np.savez(file, NAME=array)")
        with archive:
            return {name: archive[name] for name in archive.files}
    except UsageError:
        raise
    except Exception as problem:
        raise UsageError(f"--example {path}: not an .npz or .safetensors file of plain arrays ({problem})") from problem


def specs_from_example(example: Mapping[str, np.ndarray[Any, Any]], dims: Mapping[str, Dim]) -> tuple[TensorSpec, ...]:
    """Specs of the example's own shapes; ``--dim INPUT.AXIS=min:opt:max`` makes one axis dynamic."""
    specs: list[TensorSpec] = []
    addresses = {f"{name}.{axis}" for name, value in example.items() for axis in range(value.ndim)}
    for name in dims:
        if name not in addresses:
            raise UsageError(
                f"--dim {name}: with --example alone an axis is addressed as INPUT.AXIS; known: {', '.join(sorted(addresses))}"
            )
    for name, value in example.items():
        axes: list[Dim] = []
        for axis, size in enumerate(value.shape):
            asked = dims.get(f"{name}.{axis}")
            if asked is None:
                axes.append(Dim.fixed(size))
                continue
            if not asked.min <= size <= asked.max:
                raise UsageError(f"--dim {asked.name}: the example has {size} there, outside {asked.min}..{asked.max}")
            axes.append(replace(asked, name=f"{name}_{axis}"))
        integer = value.dtype.kind in "iu" and value.size
        low, high = (int(value.min()), int(value.max()) + 1) if integer else (None, None)
        specs.append(TensorSpec(name, value.dtype.name, tuple(axes), low=low, high=high))
    return tuple(specs)
