"""Parquet files, a few of their rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import InputError, UsageError
from ....escape import printable
from .columns import Layout, Need
from .media import content_of
from .parts import Done, Part, Place
from .tables import table_of

if TYPE_CHECKING:
    import pyarrow as pa


def parquet_columns(path: Path) -> tuple[int, Any]:
    """(how many rows, the schema). InputError for what is no Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return file.metadata.num_rows, file.schema_arrow
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: is no Parquet file that can be read: {printable(_line(error), 150)}") from error


def check_parquet(path: Path, layout: Layout) -> tuple[int, Any, dict[str, str]]:
    """(how many rows, the schema, the column of each need). UsageError where a column is missing, or is no text."""
    total, schema = parquet_columns(path)
    chosen = layout.found(schema.names, path.name)
    for need in layout.needs:
        if need.name in chosen and need.kind == "text":
            _check_text(schema.field(chosen[need.name]), path.name)
    return total, schema, chosen


def read_parquet(number: int, path: Path, layout: Layout, done: Done, most: int) -> Iterator[Part]:
    """The rows that are not done, `most` at a time. InputError for a file that is damaged, UsageError where it has not the
    columns that are asked for, or where they are no texts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    total, schema, chosen = check_parquet(path, layout)
    if not total:
        empty = schema.empty_table()
        yield Part(Place(number, 0, 0, True), _table(empty, chosen, path.parent, layout), 0)
        return
    wanted = list(dict.fromkeys([*chosen.values(), *(kept.column for kept in layout.kept)]))
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            at = 0
            for batch in _batches(file, wanted, done, most):
                if isinstance(batch, int):
                    at += batch
                    continue
                yield from _parts(number, at, pa.Table.from_batches([batch]), chosen, path, layout, done, most, total)
                at += batch.num_rows
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path}: can't be read: {printable(_line(error), 150)}") from error


def _batches(file: Any, wanted: list[str], done: Done, most: int) -> Iterator[Any]:
    """Batches of rows, or how many rows are passed over, since all of a row group is done."""
    at = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        change, skipped = done.ahead(at)
        if skipped and change >= at + rows:
            yield rows
        else:
            yield from file.iter_batches(most, row_groups=[group], columns=wanted)
        at += rows


def _parts(
    number: int,
    at: int,
    rows: pa.Table,
    chosen: dict[str, str],
    path: Path,
    layout: Layout,
    done: Done,
    most: int,
    total: int,
) -> Iterator[Part]:
    """What is not done of rows that begin at row `at`."""
    first = at
    while first < at + len(rows):
        change, skipped = done.ahead(first)
        stop = min(at + len(rows), change if change > first else at + len(rows), first + most)
        if not skipped:
            table = rows.slice(first - at, stop - first)
            yield Part(Place(number, first, stop, stop == total), _table(table, chosen, path.parent, layout), total)
        first = stop


def _table(rows: pa.Table, chosen: dict[str, str], folder: Path, layout: Layout) -> pa.Table:
    values = {need.name: _values(rows[chosen[need.name]], need) for need in layout.needs if need.name in chosen}
    needs = {need.name: need for need in layout.needs}

    def taken(row: int, name: str) -> Any:
        if name not in values:
            return None
        value = values[name][row]
        return content_of(value, folder, needs[name]) if needs[name].kind == "file" else value

    return table_of(range(len(rows)), taken, lambda row, column: None, layout, rows)


def _values(column: Any, need: Need) -> Any:
    """One value a row: of lists of numbers numpy arrays, without a Python object for each number."""
    import pyarrow as pa

    if need.kind == "text":
        return column.cast(pa.string()).to_pylist()
    if need.kind == "tensor" and _is_list(column.type) and _is_number(column.type.value_type):
        return [None if not row.is_valid else row.values.to_numpy(zero_copy_only=False) for row in column]
    return column.to_pylist()


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    return any(is_(kind) for is_ in (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list))


def _is_number(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _check_text(field: Any, where: str) -> None:
    import pyarrow as pa

    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise UsageError(
            f"{where}: column {printable(field.name)} is {field.type}, expected texts; name another with --column"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
