"""In which type the engine multiplies and convolves: told from the build's own layer list, not from what was asked.

A library that quietly builds fp32 where fp16 was asked for is the failure that this is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class AuditedLayer:
    """A layer that multiplies matrices or convolves, the dtype it does so in, and the ONNX nodes in it."""

    name: str
    type: str
    dtype: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """type       asked for: "fp32", "fp16" or "bf16"
    layers     how many layers the engine has
    counts     dtype -> layers that multiply matrices or convolve in it
    unaudited  why nothing could be audited; "" when it could
    kept       the layers that stay in float32 on purpose
    offenders  the layers in another type than the one asked for
    """

    type: str
    layers: int
    counts: Mapping[str, int] = field(default_factory=dict)
    unaudited: str = ""
    kept: tuple[AuditedLayer, ...] = ()
    offenders: tuple[AuditedLayer, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Audit:
        sides = {
            side: tuple(AuditedLayer(**{**layer, "nodes": tuple(layer["nodes"])}) for layer in data[side])
            for side in ("kept", "offenders")
        }
        return cls(data["type"], data["layers"], data["counts"], data["unaudited"], **sides)
