"""Answers as columns of Arrow, made of NumPy's arrays at the end of a part: an object for each value, or a call of Arrow for each
batch, would take longer than many a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[Any]
#: Values of rows: one each, or a list along each further axis; by the name of each field where they are structs.
Values = Array | Mapping[str, Array]


def column_of(parts: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """`Values` of some rows behind those of others; of lists as well. Further axes may differ from part to part."""
    import pyarrow as pa

    first = parts[0]
    if isinstance(first, Mapping):
        shape = next(iter(first.values())).shape[1:]
        joined = {name: np.concatenate([part[name] for part in parts]).ravel() for name in first}
        structs = pa.StructArray.from_arrays(list(map(pa.array, joined.values())), list(joined))
        return _listed(structs, (len(structs) // max(1, int(np.prod(shape))), *shape)).cast(type_)
    if not isinstance(first, np.ndarray):
        return pa.array([value for part in parts for value in part], type_)
    if len({part.shape[1:] for part in parts}) > 1:
        return pa.concat_arrays([column_of([part], type_) for part in parts])
    values: Array = np.concatenate(parts)
    return _listed(pa.array(values.ravel()), values.shape).cast(type_)


def table_of(columns: Mapping[str, Any], schema: pa.Schema, rows: int) -> pa.Table:
    """Columns, lists too, as a table of `schema`; those that are not there have nulls."""
    import pyarrow as pa

    made = [
        _as(columns[field.name], field.type) if field.name in columns else pa.nulls(rows, field.type)
        for field in schema
    ]
    return pa.table(made, schema=schema)


def _listed(values: pa.Array, shape: tuple[int, ...]) -> pa.Array:
    """A column that stands for an array of `shape`, whose values are these in its order."""
    import pyarrow as pa

    for axis in range(len(shape) - 1, 0, -1):
        rows = int(np.prod(shape[:axis]))
        values = pa.ListArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * shape[axis], values)
    return values


def _as(values: Any, wanted: pa.DataType) -> Any:
    import pyarrow as pa

    return values.cast(wanted) if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values, wanted)
