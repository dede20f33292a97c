"""How a float input's values are distributed: as the user declares it, or as the user's example shows it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from attn_runtime.errors import UsageError, did_you_mean
from attn_runtime.random_inputs import bounds_of
from attn_runtime.spec import DISTRIBUTIONS, TensorSpec, Values, values_problem

_CALL = re.compile(r"(?P<kind>\w+)\((?P<numbers>[^()]*)\)")
#: The fields of `Values` in the order of a declaration's numbers.
_FIELDS = {"uniform": ("low", "high"), "normal": ("mean", "std", "low", "high")}


def parse_values(text: str, name: str, dtype: str, declared: str) -> Values:
    """``uniform(0,1)`` and the like, of the input `declared`. UsageError for what is no distribution of `dtype`."""
    at, available = f"--input {text}", f"available: {', '.join(DISTRIBUTIONS.values())}"
    if not dtype.startswith("float"):
        instead = "a boolean input has none" if dtype == "bool" else "declare an integer's range, as in <1000"
        raise UsageError(f"{at}: got {declared} for {dtype}, expected a float input; {instead}")
    match = _CALL.fullmatch(declared)
    if not match or match["kind"] not in DISTRIBUTIONS:
        known = did_you_mean(match["kind"], DISTRIBUTIONS) if match else ""
        raise UsageError(f"{at}: got {declared}, expected a distribution; {known}{available}")
    fields = _FIELDS.get(match["kind"], _FIELDS["normal"])
    numbers = match["numbers"].split(",") if match["numbers"] else []
    if len(numbers) not in (2, len(fields)):
        expected = DISTRIBUTIONS[match["kind"]]
        raise UsageError(f"{at}: got {len(numbers)} number{'s' if len(numbers) != 1 else ''}, expected {expected}")
    told: dict[str, Any] = {"kind": match["kind"]}
    for field, number in zip(fields, numbers, strict=False):
        try:
            told[field] = float(number)
        except ValueError:
            raise UsageError(f"{at}: got {number or 'nothing'} in {declared}, expected a number") from None
    if problem := values_problem(told):
        raise UsageError(f"{at}: {problem}")
    values = Values(**told)
    bounds_of(name, dtype, values)  # refuses numbers beyond the dtype
    return values


def values_of_examples(
    specs: Sequence[TensorSpec], examples: Sequence[Mapping[str, np.ndarray[Any, Any]]]
) -> tuple[tuple[TensorSpec, ...], list[str]]:
    """`specs`, where a float input that declares nothing is drawn as the examples show it, and a line for each of them.

    That is a normal distribution of their mean and standard deviation, clipped to their least and greatest value: between
    them a square root or a logarithm that has answers for the examples has answers for what is drawn. NaN and infinities are
    left out. One value alone shows nothing, since zeros are what people fill in; such an input stays standard normal.
    """
    told: list[str] = []
    found: list[TensorSpec] = []
    for spec in specs:
        if spec.dtype.startswith("float") and spec.values is None:
            parts = [example[spec.name].ravel() for example in examples]
            whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
            finite = whole[np.isfinite(whole)]
            left_out = f" (without {whole.size - finite.size} that are not finite)" if whole.size > finite.size else ""
            values = _shown_by(finite)
            if values is not None:
                spec = replace(spec, values=values)
                clipped = f"normal({values.mean:.4g}, {values.std:.4g}) clipped to {values.low:.4g}..{values.high:.4g}"
                told.append(f"{spec.name}: drawn as {clipped}, from --example{left_out}")
            else:
                shows = f"{finite[0]:.4g} alone" if finite.size else "no number"
                told.append(
                    f"{spec.name}: drawn as a standard normal, since --example shows {shows}{left_out}; declare another with "
                    f"--input '{spec.name}:...~uniform(LOW,HIGH)'"
                )
        found.append(spec)
    return tuple(found), told


def _shown_by(values: np.ndarray[Any, Any]) -> Values | None:
    if not values.size or values.min() == values.max():
        return None
    wide = values.astype(np.float64)
    scale = float(np.abs(wide).max())  # the square of a large float64 is infinite
    wide /= scale
    return Values(
        "normal", float(wide.mean()) * scale, float(wide.std()) * scale, float(values.min()), float(values.max())
    )
