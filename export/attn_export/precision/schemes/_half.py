"""Schemes of half precision: a narrower float type, to which AutoCast converts and whose rounding can be emulated."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ._base import Scheme, get, names

if TYPE_CHECKING:
    import onnx
    from attn_runtime.child_process import ChildProcess


class Convert(Protocol):
    def __call__(
        self,
        source: Path,
        target: Path,
        scheme: HalfScheme,
        isolated: ChildProcess,
        *,
        fp32_nodes: Sequence[str] = (),
        saturate: Sequence[str] = (),
        half_io: bool = False,
    ) -> None:
        """Write `source` (fp32, every node named) to `target` as a strongly typed graph: no operator mixes types.

        fp32_nodes    the nodes that stay in fp32, beside those whose operator the type does not have and those with bodies
        saturate      tensors that are clipped to the type's range where they are cast to it
        half_io       make the float32 inputs and outputs float16

        Raises PassError with the reason when the graph can't be converted.
        """


class Emulate(Protocol):
    def __call__(self, typed: onnx.ModelProto, between: bool = True) -> onnx.ModelProto:
        """The fp32 graph that computes what a GPU computes of `typed`; see `typed.emulate`."""


@dataclass(frozen=True, kw_only=True)
class HalfScheme(Scheme):
    """A float type to convert to, and how.

    onnx_type       the type as an onnx.TensorProto.DataType
    max_finite      the type's greatest number
    unit_roundoff   half the distance from 1 to the next number: the relative error of one rounding
    convert         from the fp32 graph to the typed one
    emulate         from the typed graph to the fp32 graph that is its judge
    """

    onnx_type: int
    max_finite: float
    unit_roundoff: float
    convert: Convert
    emulate: Emulate


def halves() -> list[HalfScheme]:
    """Every scheme of half precision there is a file of."""
    return [scheme for scheme in map(get, names()) if isinstance(scheme, HalfScheme)]


def scheme_of(elements: Collection[int]) -> HalfScheme | None:
    """The scheme whose type is among these element types; None for a graph in fp32.

    Of several with one type, the one that is called by it: a plain file does not tell which of them made it.
    """
    return _plainest(scheme for scheme in halves() if scheme.onnx_type in elements)


def of_type(type: str) -> HalfScheme | None:
    """The same of a precision whose type the manifest gives; None for fp32."""
    return _plainest(scheme for scheme in halves() if scheme.type == type)


def _plainest(schemes: Iterable[HalfScheme]) -> HalfScheme | None:
    return min(schemes, key=lambda s: (s.name != s.type, s.name), default=None)
