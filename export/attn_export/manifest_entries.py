"""The parts of a bundle's manifest that both an export and a conversion write, as manifest.schema.json has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol


class _Told(Protocol):
    def to_json(self) -> dict[str, Any]: ...


def stage_entry(
    name: str,
    precision: str,
    nodes_before: int | None,
    nodes_after: int,
    note: str,
    checks: Iterable[_Told],
    changed: bool = True,
) -> dict[str, Any]:
    """One form of a graph, and how it was held against PyTorch. `changed` is False where it is the form before."""
    return {
        "name": name,
        "precision": precision,
        "nodes_before": nodes_before,
        "nodes_after": nodes_after,
        "kept": changed,
        "note": note,
        "checks": [check.to_json() for check in checks],
    }


def precision_entry(
    file: str,
    data: Sequence[str],
    tolerance: _Told,
    attention: Iterable[_Told],
    converted: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A file of a graph, with the data files beside it. `converted` has what else is to say of one that is no fp32: its type,
    half_io, the nodes kept in fp32, and the engine that it was made for."""
    return {
        "file": file,
        "data": list(data),
        "tolerance": tolerance.to_json(),
        "attention": [block.to_json() for block in attention],
        **(converted or {}),
    }
