"""What an ONNX file declares of its inputs and outputs, as the specs that a session checks."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BackendError
from ..spec import DTYPES, Dim, TensorSpec
from .graph import OnnxGraph

#: The end of the range of a dim of which the file says no more than that it varies.
_ANY_SIZE = 2**31 - 1


def declared_specs(graph: OnnxGraph, where: str) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of the main graph. A dim without a size or name is called TENSOR_AXIS, a tensor without a shape has
    no dims. Raises BackendError for a type that no session takes."""
    return _specs(graph, graph.inputs, where), _specs(graph, graph.outputs, where)


def _specs(graph: OnnxGraph, names: Sequence[str], where: str) -> tuple[TensorSpec, ...]:
    return tuple(_spec(graph, name, where) for name in names)


def _spec(graph: OnnxGraph, name: str, where: str) -> TensorSpec:
    value = graph.values[name]
    if value.dtype not in DTYPES:
        raise BackendError(
            f'{where}: tensor "{name}" is of {value.dtype or "no type"}; sessions take {", ".join(sorted(DTYPES))}'
        )
    dims = [
        Dim.fixed(size) if isinstance(size, int) and size >= 0 else Dim(_name(size, name, axis), 1, 1, _ANY_SIZE)
        for axis, size in enumerate(value.dims or ())
    ]
    return TensorSpec(name, value.dtype, tuple(dims))


def _name(size: int | str | None, name: str, axis: int) -> str:
    return size if isinstance(size, str) and size else f"{name}_{axis}"
