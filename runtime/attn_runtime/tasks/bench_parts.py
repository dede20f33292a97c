"""What the benchmarks of a graph and of a generator share: the report, the batch sizes, inputs that can be drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from ..bundle import Bundle
from ..errors import UsageError, did_you_mean
from ..session import check_writable
from ..spec import TensorSpec, named_dims

# Above this, the end of a range says that nothing is known about it, and is no batch size to try.
_SENSIBLE_SIZE = 4096

Size = TypeVar("Size")


class Opened(Protocol):
    """A session or a generator."""

    @property
    def inputs(self) -> Sequence[TensorSpec]: ...
    @property
    def where(self) -> str: ...


@dataclass(frozen=True)
class Report(Generic[Size]):
    """What was measured, by batch size; `remembered` is the file of the bundle that keeps it, where that was asked for."""

    path: str
    backend: str
    device: str
    choice: str
    call: str
    batch_dim: str | None
    results: tuple[Size, ...]
    passed_over: tuple[str, ...] = ()
    remembered: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def batch_dim(opened: Opened) -> str | None:
    """The first axis of the first input, where that is dynamic."""
    first = opened.inputs[0].dims[0] if opened.inputs and opened.inputs[0].dims else None
    return first.name if first and first.dynamic else None


def batches_of(opened: Opened, asked: Sequence[int], sizes: Mapping[str, int]) -> list[int]:
    """The batch sizes to time. UsageError for `sizes` of dims that there are not."""
    dims = named_dims(opened.inputs)
    for name in sizes:
        if name not in dims:
            known = ", ".join(dims) or "(none)"
            raise UsageError(f'unknown dim "{name}"; {did_you_mean(name, dims)}available: {known} ({opened.where})')
    batch = batch_dim(opened)
    if batch is None:
        lead = opened.inputs[0].dims if opened.inputs else ()
        fixed = lead[0].opt if lead else 1
        if asked and set(asked) != {fixed}:
            raise UsageError(f"{opened.where}: its batch is fixed at {fixed}, got {', '.join(map(str, asked))}")
        return [fixed]
    dim = dims[batch]
    usual = {size for size in (dim.min, dim.opt, dim.max) if 0 < size <= _SENSIBLE_SIZE}
    return sorted(set(asked) or usual or {dim.opt})


def drawable(spec: TensorSpec, high: int = 2) -> TensorSpec:
    """An input of whole numbers with an end of its range, `high` where the graph tells none: 0 and 1 are in every table."""
    return replace(spec, high=high) if spec.high is None and "int" in spec.dtype else spec


def check_kept(bundle: Bundle | None, path: str | os.PathLike[str]) -> Bundle:
    """The bundle, where what is measured can be kept in it. UsageError for a plain file, OutputError where it is read-only."""
    if bundle is None:
        raise UsageError(
            f"remember: {Path(path).name} is no bundle, which keeps what was measured; export it to NAME.attn"
        )
    check_writable(bundle)
    return bundle
