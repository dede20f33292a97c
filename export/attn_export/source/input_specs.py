"""The words in which a user declares inputs: ``image:float32[batch,3,height,width]`` and ``batch=1:8:32``.

Grammar of an input:  NAME ':' DTYPE '[' AXIS (',' AXIS)* ']' ( ('>=' LOW)? '<' HIGH | '~' VALUES )?
                      AXIS is a size or a dim's name; integers are LOW or more (0 if not said), and less than HIGH
                      VALUES is one of attn_runtime.spec.DISTRIBUTIONS: uniform(0,1), normal(0.5,0.2,0,1), ...
Grammar of a dim:     NAME '=' SIZE   |   NAME '=' MIN ':' OPT ':' MAX
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from attn_runtime.errors import UsageError, did_you_mean
from attn_runtime.spec import DTYPES, Dim, TensorSpec, named_dims

from .distributions import parse_values

_INPUT = re.compile(
    r"(?P<name>[\w.]+):(?P<dtype>\w+)\[(?P<axes>[^\]]*)\]"
    r"(?:>=(?P<low>-?\d+))?(?:<(?P<high>-?\d+))?(?:~(?P<values>.*))?"
)
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
                "or 'tokens:int64[batch,T]<30000' or 'x:float32[batch,T]~uniform(0,1)'"
            )
        if match["dtype"] not in DTYPES:
            raise UsageError(
                f"--input {text}: unknown dtype {match['dtype']}; {did_you_mean(match['dtype'], sorted(DTYPES))}"
            )
        if any(s.name == match["name"] for s in specs):
            raise UsageError(f"--input {match['name']}: given twice")
        axes = tuple(_axis(text, a, dims) for a in match["axes"].split(",")) if match["axes"] else ()
        declared = match["values"]
        values = None if declared is None else parse_values(text, match["name"], match["dtype"], declared)
        low, high = _range(text, match)
        specs.append(TensorSpec(match["name"], match["dtype"], axes, low=low, high=high, values=values))
    _all_used(dims, specs)
    return tuple(specs)


def _range(text: str, match: re.Match[str]) -> tuple[int | None, int | None]:
    """From which integer to before which the values are drawn; None and None for what is no integer."""
    dtype, high = match["dtype"], None if match["high"] is None else int(match["high"])
    low, told = int(match["low"] or 0), text.replace(" ", "").partition("]")[2]
    if np.dtype(dtype).kind not in "iu":
        if high is not None or match["low"]:
            raise UsageError(f"--input {text}: a range ({told}) is for integers, and this is {dtype}")
        return None, None
    if high is None:
        raise UsageError(
            f"--input {text}: an integer input needs a range to draw from; append <SIZE, as in "
            f"{text.partition('>')[0]}<1000, or >=LOW<HIGH, as in {text.partition('>')[0]}>=-8<8"
        )
    if low >= high:
        raise UsageError(
            f"--input {text}: the range {told} is empty; it goes from LOW (0 if not said) to below HIGH, as >=-8<8"
        )
    ends = np.iinfo(dtype)
    if high - 1 > ends.max or low < ends.min:
        end, beyond = (
            (f"ends at {ends.max}, before", high - 1) if high - 1 > ends.max else (f"begins at {ends.min}, after", low)
        )
        raise UsageError(f"--input {text}: {dtype} {end} {beyond}")
    return low, high


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
