"""Rows as the table of a part: what the task needs, what is kept, and why a row could not be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ....errors import InputError
from .columns import Kept, Layout, Need, arrow_type, kept_value, tensor_of, text_of
from .parts import ERROR

if TYPE_CHECKING:
    import pyarrow as pa

Row = TypeVar("Row")

#: What the column of a need is called in a part, so that a kept one may have its name.
NEED = "need:{}"
#: Where a picture or recording lies, beside its content.
FILE = "file"


def table_of(
    rows: Sequence[Row],
    taken: Callable[[Row, str], Any],
    kept: Callable[[Row, str], Any],
    layout: Layout,
    own: pa.Table | None = None,
) -> pa.Table:
    """`taken` and `kept` give a row's value of a need and of a column that is kept; what they raise as InputError is the row's
    error. `own` has the columns that are kept as they are."""
    import pyarrow as pa

    errors: list[str | None] = [None] * len(rows)

    def each(make: Callable[[Row], Any]) -> list[Any]:
        made = []
        for number, row in enumerate(rows):
            try:
                made.append(make(row))
            except InputError as error:
                made.append(None)
                errors[number] = errors[number] or str(error)
        return made

    columns: dict[str, pa.Array] = {}
    for need in layout.needs:
        values = each(lambda row, need=need: _value(taken(row, need.name), need))  # type: ignore[misc]
        columns[NEED.format(need.name)] = pa.array(values, need_type(need))
    for column in layout.kept:
        if own is not None:
            columns[column.name] = _cast(own[column.column], column, errors)
        else:
            values = each(lambda row, column=column: kept_value(kept(row, column.column), column))  # type: ignore[misc]
            columns[column.name] = pa.array(values, arrow_type(column))
    # Last, for what the columns above found.
    columns[ERROR] = pa.array(errors, pa.string())
    return pa.table(columns)


def need_type(need: Need) -> pa.DataType:
    """A tensor travels as its bytes and its shape."""
    import pyarrow as pa

    if need.kind == "text":
        return pa.string()
    if need.kind == "file":
        return pa.struct({FILE: pa.string(), "content": pa.large_binary()})
    return pa.struct({"shape": pa.list_(pa.int64()), "data": pa.large_binary()})


def array_of(value: dict[str, Any], need: Need) -> NDArray[Any]:
    """The tensor of a row again."""
    return np.frombuffer(value["data"], need.dtype).reshape(value["shape"])


def _value(value: Any, need: Need) -> Any:
    if need.kind == "text":
        return None if value is None and need.optional else text_of(value, need.name)
    if need.kind == "file":
        return value
    array = tensor_of(value, need)
    return {"shape": list(array.shape), "data": array.tobytes()}


def _cast(values: pa.ChunkedArray, column: Kept, errors: list[str | None]) -> pa.ChunkedArray:
    import pyarrow as pa

    wanted = arrow_type(column, values.type)
    try:
        return values.cast(wanted)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        made = []
        for number, value in enumerate(values.to_pylist()):
            try:
                made.append(kept_value(value, column))
            except InputError as error:
                made.append(None)
                errors[number] = errors[number] or str(error)
        return pa.chunked_array([pa.array(made, wanted)])
