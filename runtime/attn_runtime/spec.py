"""What a tensor may look like: its name, dtype and dims with their ranges.

One vocabulary for the manifest, the sessions and the error messages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import InputError, UsageError
from .escape import printable
from .lazy import dataclass

#: dtypes that can cross a graph's border, by numpy's names.
DTYPES = frozenset(
    ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "bool"]
)  # fmt: skip


@dataclass(frozen=True)
class Dim:
    """One axis. `name` is None for a fixed axis; then min == opt == max.

    Sizes are in elements, inclusive at both ends.
    """

    name: str | None
    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.opt <= self.max:
            raise UsageError(
                f"dim {self.name or '(fixed)'}: needs 0 <= min <= opt <= max, got {self.min}:{self.opt}:{self.max}"
            )

    @classmethod
    def fixed(cls, size: int) -> Dim:
        return cls(None, size, size, size)

    @property
    def dynamic(self) -> bool:
        return self.min != self.max

    def __str__(self) -> str:
        if self.name is None:
            return str(self.opt)
        return f"{self.name}={self.min}..{self.max}" if self.dynamic else f"{self.name}={self.opt}"

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "min": self.min, "opt": self.opt, "max": self.max}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Dim:
        return cls(data["name"], data["min"], data["opt"], data["max"])


#: Each kind of `Values`, as a person declares it.
DISTRIBUTIONS = {
    "uniform": "uniform(LOW,HIGH)",
    "normal": "normal(MEAN,STD[,LOW,HIGH])",
    "lognormal": "lognormal(MU,SIGMA[,LOW,HIGH])",
}


@dataclass(frozen=True)
class Values:
    """How the values of a float input are distributed, for drawing test inputs.

    kind         "uniform": evenly from `low` (inclusive) to `high` (exclusive), without mean and std
                 "normal": of this mean and standard deviation, in the input's unit
                 "lognormal": e to the power of a normal of this mean and standard deviation
    low, high    of the other two kinds: what is drawn beyond is clipped to them; both are None where nothing is

    Raises UsageError for numbers that make no distribution.
    """

    kind: str
    mean: float | None = None
    std: float | None = None
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if problem := values_problem(vars(self)):
            raise UsageError(problem)

    @property
    def numbers(self) -> dict[str, float]:
        """Those of mean, std, low and high that it has."""
        return {key: value for key, value in vars(self).items() if key != "kind" and value is not None}

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(f'{value:g}' for value in self.numbers.values())})"

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.numbers}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Values:
        return cls(data["kind"], **{key: float(value) for key, value in data.items() if key != "kind"})


def values_problem(told: Mapping[str, Any]) -> str | None:
    """What keeps kind, mean, std, low and high from making a distribution: "got X, expected Y"; None where they make one."""
    if told["kind"] not in DISTRIBUTIONS:
        return f"got distribution {told['kind']}, expected one of {', '.join(DISTRIBUTIONS)}"
    # As floats: two integers beyond 2**53 can differ where the numbers that are drawn with do not.
    numbers = {k: None if told.get(k) is None else float(told[k]) for k in ("mean", "std", "low", "high")}
    given = [key for key, value in numbers.items() if value is not None]
    allowed = [["low", "high"]] if told["kind"] == "uniform" else [["mean", "std"], list(numbers)]
    if given not in allowed:
        expected = " or ".join(" and ".join(keys) if len(keys) == 2 else ", ".join(keys) for keys in allowed)
        return f"got {told['kind']} with {', '.join(given) or 'no numbers'}, expected {expected}"
    for key, value in numbers.items():
        if value is not None and not math.isfinite(value):
            return f"got {key} {value}, expected a finite number"
    if numbers["std"] is not None and numbers["std"] < 0:
        return f"got std {numbers['std']:g}, expected 0 or more"
    low, high = numbers["low"], numbers["high"]
    if low is not None and high is not None and low >= high:
        return f"got low {low:g} and high {high:g}, expected low < high"
    return None


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph.

    `low` and `high` bound the values of an integer input that make sense (low inclusive, high exclusive), for
    drawing test inputs; None means unbounded. `values` says how those of a float input are distributed, None a standard
    normal. `meaning` and `unit` are for people.
    """

    name: str
    dtype: str
    dims: tuple[Dim, ...]
    meaning: str = ""
    unit: str = ""
    low: int | None = None
    high: int | None = None
    values: Values | None = None

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise UsageError(f'tensor "{self.name}": unknown dtype {self.dtype}; one of {", ".join(sorted(DTYPES))}')
        if self.values and not self.dtype.startswith("float"):
            raise UsageError(f'tensor "{self.name}": got {self.values} for {self.dtype}, expected a float dtype')

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The concrete shape where every named dim has the size given, or its opt when it is not named."""
        return tuple(d.opt if d.name is None else sizes.get(d.name, d.opt) for d in self.dims)

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.dtype}[{', '.join(map(str, self.dims))}]{f' ~ {self.values}' if self.values else ''}"
        )

    def to_json(self) -> dict[str, Any]:
        data: dict[str, Any] = {
            "name": self.name,
            "dtype": self.dtype,
            "dims": [d.to_json() for d in self.dims],
        }
        for key in ("meaning", "unit"):
            if getattr(self, key):
                data[key] = getattr(self, key)
        for key in ("low", "high"):
            if getattr(self, key) is not None:
                data[key] = getattr(self, key)
        if self.values:
            data["values"] = self.values.to_json()
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TensorSpec:
        return cls(
            data["name"],
            data["dtype"],
            tuple(Dim.from_json(d) for d in data["dims"]),
            data.get("meaning", ""),
            data.get("unit", ""),
            data.get("low"),
            data.get("high"),
            Values.from_json(data["values"]) if "values" in data else None,
        )


def named_dims(specs: Sequence[TensorSpec]) -> dict[str, Dim]:
    """Every named dim of these tensors, in order of first use."""
    found: dict[str, Dim] = {}
    for spec in specs:
        for dim in spec.dims:
            if dim.name is not None:
                found.setdefault(dim.name, dim)
    return found


def check_shapes(specs: Sequence[TensorSpec], shapes: Mapping[str, tuple[str, tuple[int, ...]]], where: str) -> None:
    """Hold (dtype, shape) of every input against its spec.

    Raises InputError in the house form for a missing or unknown name, a wrong dtype or rank, a size out of range,
    and a named dim that has two sizes.
    """
    wanted = [s.name for s in specs]
    missing = [n for n in wanted if n not in shapes]
    unknown = [n for n in shapes if n not in wanted]
    if missing or unknown:
        parts = ([f"missing input {', '.join(missing)}"] if missing else []) + (
            [f"unknown input {', '.join(map(printable, unknown))}"] if unknown else []
        )
        raise InputError(f"{'; '.join(parts)}; expected {', '.join(wanted)} ({where})")
    seen: dict[str, tuple[int, str]] = {}
    for spec in specs:
        dtype, shape = shapes[spec.name]
        got = f'input "{spec.name}": got {dtype} {list(shape)}'
        if dtype != spec.dtype:
            raise InputError(f"{got}; expected dtype {spec.dtype} ({where}). Convert it before the call.")
        if len(shape) != len(spec.dims):
            raise InputError(f"{got}; expected rank {len(spec.dims)}: {spec} ({where}).")
        for axis, (size, dim) in enumerate(zip(shape, spec.dims)):  # noqa: B905  (equal length checked above)
            if not dim.min <= size <= dim.max:
                if not dim.dynamic:
                    raise InputError(f"{got}; axis {axis} is fixed at {dim.opt}: {spec} ({where}).")
                advice = f"Re-export with --dim {dim.name}={min(dim.min, size)}:{dim.opt}:{max(dim.max, size)}."
                if size < 1:  # which no export takes
                    advice = f"Give {dim.name} a size of these."
                raise InputError(f"{got}; dim {dim.name} allows {dim.min}..{dim.max} ({where}). {advice}")
            if dim.name is not None:
                before = seen.setdefault(dim.name, (size, spec.name))
                if before[0] != size:
                    raise InputError(
                        f'{got}; dim {dim.name} is {size} here and {before[0]} in input "{before[1]}" ({where}).'
                    )


def signature(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...]]:
    """(dtype name, shape), as `check_shapes` takes it."""
    return array.dtype.name, array.shape


def odd_bool(array: np.ndarray[Any, Any]) -> int | None:
    """The largest byte of a bool array where it is neither 0 nor 1: some would take it for true, some for false."""
    if array.dtype != np.bool_ or not array.size:
        return None
    largest = int(np.maximum.reduce(array.view(np.uint8), axis=None))
    return largest if largest > 1 else None
