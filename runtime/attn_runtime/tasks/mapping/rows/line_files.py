"""JSONL, CSV and plain texts: files that are read line by line, where one bad row spoils no other.

pyarrow's own readers of these end at the first bad line, and guess a column's type from the first rows they see.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors import InputError, UsageError
from ....escape import printable
from .columns import Layout
from .lines import MAX_LINE, Opened, TooLong, lines, opened
from .media import content_of
from .parts import Done, Part, Place, cut
from .tables import table_of

if TYPE_CHECKING:
    import pyarrow as pa

#: How many rows of JSONL may be bad before the first good one, which tells what columns there are.
_LOOKED_AT = 100
#: A row as its file has it: values by column, or why it is none.
Read = dict[str, Any] | InputError


def read_lines_of(number: int, path: Path, form: str, layout: Layout, done: Done, most: int) -> Iterator[Part]:
    """The rows of a file that are not done, `most` at a time. `form` is "jsonl", "csv" or "txt"; empty lines are no rows.

    InputError for a file that can't be read, UsageError where it has not the columns that are asked for.
    """
    with opened(path) as file:
        raw, parse, chosen = _FORMS[form](file, layout, path.name)
        for first, held, last in cut(raw, done, most):
            place = Place(number, first, first + len(held), last)
            total = place.stop if last else round(place.stop / max(file.share, 1e-9))
            yield Part(place, _table([parse(row) for row in held], chosen, path.parent, layout), max(total, place.stop))


def check_lines(path: Path, form: str, layout: Layout) -> None:
    """Raises what `read_lines_of` would for the columns that are asked for."""
    with opened(path) as file:
        _FORMS[form](file, layout, path.name)


def _table(rows: Sequence[Read], chosen: Mapping[str, str], folder: Path, layout: Layout) -> pa.Table:
    needs = {need.name: need for need in layout.needs}

    def taken(row: Read, name: str) -> Any:
        if isinstance(row, InputError):
            raise row
        need = needs[name]
        # Objects of JSON need not have what the first ones have.
        column = chosen.get(name) or next((n for n in need.names if n in row), need.names[0])
        if column not in row:
            if need.optional:
                return None
            raise InputError(f"has no {printable(column)}; it has {printable(', '.join(row), 100)}")
        value = row[column]
        return content_of(value, folder, need) if need.kind == "file" else value

    def kept(row: Read, column: str) -> Any:
        return None if isinstance(row, InputError) else row.get(column)

    return table_of(rows, taken, kept, layout)


# --- one function a form: (raw rows, how one is parsed, the column of each need) -----------------------------------------

_Form = tuple[Iterable[Any], Callable[[Any], Read], Mapping[str, str]]


def _jsonl(file: Opened, layout: Layout, where: str) -> _Form:
    rows = (line for line in lines(file) if isinstance(line, TooLong) or line.strip())
    ahead = list(itertools.islice(rows, _LOOKED_AT))
    good = [row for row in map(_parsed, ahead) if isinstance(row, dict)]
    chosen: Mapping[str, str] = layout.columns
    if good:
        chosen = layout.found(list(dict.fromkeys(key for row in good for key in row)), where)
    elif len(ahead) == _LOOKED_AT:
        raise InputError(f"{where}: none of its first {_LOOKED_AT} lines is a JSON object; expected one a line")
    return itertools.chain(ahead, rows), _parsed, chosen


def _parsed(line: bytes | TooLong) -> Read:
    if isinstance(line, TooLong):
        return _too_long()
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return InputError("is no UTF-8 text")
    except (ValueError, RecursionError) as error:
        told = "too many levels" if isinstance(error, RecursionError) else str(error)
        return InputError(f"is no JSON: {printable(told, 100)}")
    return row if isinstance(row, dict) else InputError(f"is {type(row).__name__} in JSON, expected an object")


def _csv(file: Opened, layout: Layout, where: str) -> _Form:
    # The limit is one of the process. It is only ever raised: others may count on theirs.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE))
    texts = (
        line.decode("utf-8", "surrogateescape") + "\n" if isinstance(line, bytes) else "\n" for line in lines(file)
    )
    reader = csv.reader(
        texts, delimiter=layout.delimiter or ("\t" if where.split(".")[-1] == "tsv" or ".tsv." in where else ",")
    )
    header = next((row for row in _records(reader) if row), [])
    if isinstance(header, InputError):
        raise InputError(f"{where}: its first line {header}; expected the names of the columns")
    doubled = sorted({name for name in header if header.count(name) > 1})
    if doubled:
        raise UsageError(f"{where}: has two columns {printable(doubled[0])}; rename one of them")
    chosen: Mapping[str, str] = layout.columns
    try:
        if header:
            chosen = layout.found(header, where)
    except UsageError as error:
        if len(header) == 1 and (other := next((c for c in ";\t|" if c in header[0]), None)):
            raise UsageError(f'{error}; its columns seem to be parted by "{other!s}": try --delimiter') from None
        raise

    def parse(row: list[str] | InputError) -> Read:
        if isinstance(row, InputError):
            return row
        if len(row) != len(header):
            return InputError(f"has {len(row)} fields, expected {len(header)}")
        return dict(zip(header, row, strict=True))

    return (row for row in _records(reader) if isinstance(row, InputError) or row), parse, chosen


def _records(reader: Iterator[list[str]]) -> Iterator[list[str] | InputError]:
    """Those that can't be read as errors: the reader goes on behind them."""
    while True:
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield InputError(f"is no row of a CSV: {printable(str(error), 100)}")


def _txt(file: Opened, layout: Layout, where: str) -> _Form:
    if any(need.kind == "tensor" for need in layout.needs) or layout.kept or layout.columns:
        raise UsageError(f"{where}: has a text a line and no columns; give JSONL, CSV or Parquet")
    (name,) = (need.name for need in layout.needs if not need.optional)

    def parse(line: bytes | TooLong) -> Read:
        if isinstance(line, TooLong):
            return _too_long()
        # What is no UTF-8 is told of with the other texts.
        return {name: line.removesuffix(b"\r").decode("utf-8", "surrogateescape")}

    return (line for line in lines(file) if isinstance(line, TooLong) or line.strip()), parse, {name: name}


def _too_long() -> InputError:
    return InputError(f"is a line of more than {MAX_LINE >> 20} MiB")


_FORMS: dict[str, Callable[[Opened, Layout, str], _Form]] = {"jsonl": _jsonl, "csv": _csv, "txt": _txt}
