"""Which columns a task reads, which ones are kept beside the answers, and what is made of their values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ....errors import InputError, UsageError, did_you_mean
from ....escape import printable

if TYPE_CHECKING:
    import pyarrow as pa

#: Types that a kept column may be given, by Arrow's names.
TYPES = ("string", "int64", "float64", "bool")


@dataclass(frozen=True)
class Need:
    """What a task reads of each row.

    kind    "text"; "file": a picture or recording, by its path or content; "tensor": numbers
    names   the columns that it is looked for in where none is named
    dtype, shape   of a tensor: numpy's name, and a size for each axis of one row, -1 where rows differ
    """

    name: str
    kind: Literal["text", "file", "tensor"]
    names: tuple[str, ...]
    optional: bool = False
    dtype: str = ""
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Kept:
    """A column that is written beside the answers as `name`. `type` is one of TYPES; None is the type in the file, text where
    it has none."""

    name: str
    column: str
    type: str | None = None


@dataclass(frozen=True)
class Layout:
    """What is read of every row of a run: what the task needs, the columns that were named for it, and what is kept."""

    needs: tuple[Need, ...]
    columns: Mapping[str, str]
    kept: tuple[Kept, ...] = ()
    delimiter: str | None = None

    @property
    def file(self) -> Need | None:
        """The need of a picture or a recording."""
        return next((need for need in self.needs if need.kind == "file"), None)

    def found(self, there: Sequence[str], where: str) -> dict[str, str]:
        """The column of each need, of those that are there. UsageError where one is missing, as also of those to be kept."""
        chosen = {}
        for need in self.needs:
            named = self.columns.get(need.name)
            column = named if named is not None else next((n for n in need.names if n in there), None)
            if column is None and need.optional:
                continue
            if column is None and need.kind != "tensor" and len(there) == 1:
                (column,) = there
            if column is None or column not in there:
                wanted = column or " or ".join(need.names)
                raise UsageError(
                    f"{where}: there is no column {printable(wanted)}; "
                    f"{did_you_mean(wanted, there)}it has {printable(', '.join(there), 300) or 'none'}; "
                    f"name the one with the {need.name} by --column {need.name}=COLUMN"
                )
            chosen[need.name] = column
        for kept in self.kept:
            if kept.column not in there:
                raise UsageError(
                    f"{where}: there is no column {printable(kept.column)} to keep; "
                    f"{did_you_mean(kept.column, there)}it has {printable(', '.join(there), 300)}"
                )
        return chosen


def read_columns(given: Iterable[str], needs: Sequence[Need]) -> dict[str, str]:
    """ "text=body" or, where a task needs one thing alone, "body". UsageError for what it does not need."""
    found: dict[str, str] = {}
    names = [need.name for need in needs]
    first = [need for need in needs if not need.optional]
    for text in given:
        name, equals, column = text.partition("=")
        if not equals or (name not in names and len(first) == 1):
            if len(first) != 1:
                raise UsageError(
                    f'column: got "{printable(text)}", expected NAME=COLUMN with one of {", ".join(names)}'
                )
            name, column = first[0].name, text
        if name not in names or not column:
            raise UsageError(
                f'column: got "{printable(text)}", {did_you_mean(name, names)}expected NAME=COLUMN with one of '
                f"{', '.join(names)}"
            )
        if name in found:
            raise UsageError(f"column: {name} is given twice; give one column for it")
        found[name] = column
    return found


def read_kept(given: Iterable[str], taken: Iterable[str]) -> tuple[Kept, ...]:
    """ "id", "id:int64", "key=id": what is kept, under which name, and as what. UsageError for a name that is `taken`."""
    found: list[Kept] = []
    for text in given:
        name, equals, column = text.partition("=")
        column = column if equals else name
        column, colon, type_ = column.rpartition(":")
        if not colon or type_ not in TYPES:
            column, type_ = (f"{column}:{type_}" if colon else type_), ""
        name = name if equals else column
        if not name or not column:
            raise UsageError(f'keep: got "{printable(text)}", expected COLUMN, COLUMN:TYPE or NAME=COLUMN')
        if name in taken or name in [kept.name for kept in found]:
            raise UsageError(
                f"keep: a column {printable(name)} is written already; keep it by another name, as in "
                f"--keep {printable(f'my_{name}={column}')}"
            )
        found.append(Kept(name, column, type_ or None))
    return tuple(found)


# --- values -------------------------------------------------------------------------------------------------------------


def text_of(value: Any, name: str) -> str:
    """InputError for what is no text."""
    if not isinstance(value, str):
        raise InputError(f"{name} is null" if value is None else f"{name} is {_kind(value)}, expected a text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{name} is no UTF-8 text") from None
    return value


def tensor_of(value: Any, need: Need) -> NDArray[Any]:
    """One row of an input, of its dtype and rank. Numbers in one list are taken for all axes, where their sizes tell how.

    InputError for what is no such tensor; whether its sizes are the graph's is for the session to say.
    """
    if value is None:
        raise InputError(f"{need.name} is null")
    try:
        array = np.asarray(value)
    except ValueError:
        raise InputError(f"{need.name} has lists of different lengths") from None
    if array.dtype.kind not in "biuf" and array.size:
        raise InputError(f"{need.name} is {_kind(value)}, expected numbers")
    made = array.astype(need.dtype)
    if array.dtype.kind in "iu" and np.dtype(need.dtype).kind in "iu" and not np.array_equal(made, array):
        raise InputError(f"{need.name} has a number beyond {need.dtype}")
    if array.dtype.kind == "f" and np.dtype(need.dtype).kind in "iub" and array.size:
        raise InputError(f"{need.name} has fractions, expected {need.dtype}")
    if made.ndim == 1 and len(need.shape) != 1 and sum(size < 0 for size in need.shape) <= 1:
        try:
            made = made.reshape(need.shape)
        except ValueError:
            raise InputError(f"{need.name} has {made.size} numbers, expected {list(need.shape)}") from None
    if made.ndim != len(need.shape):
        raise InputError(f"{need.name} has {made.ndim} axes, expected {len(need.shape)}")
    return made


def arrow_type(kept: Kept, own: pa.DataType | None = None) -> pa.DataType:
    """What a kept column is written as; `own` is its type in the file."""
    import pyarrow as pa

    if kept.type is None:
        return own or pa.string()
    return {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}[kept.type]


def kept_value(value: Any, kept: Kept) -> Any:
    """A value of a file without types as the type it is kept as. InputError where it is none."""
    if value is None:
        return None
    if kept.type in (None, "string"):
        return text_of(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), kept.name)
    if value == "":
        return None  # a CSV has no other way to say that there is nothing
    made = _CASTS[kept.type](value)
    if made is None:
        raise InputError(f"{kept.name} is {_kind(value)}, expected {kept.type}")
    return made


def _whole(value: Any) -> int | None:
    try:
        number = int(value) if not isinstance(value, bool | float) or float(value).is_integer() else None
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _flag(value: Any) -> bool | None:
    return {"true": True, "false": False, "1": True, "0": False}.get(str(value).lower())


_CASTS: Mapping[str | None, Callable[[Any], Any]] = {"int64": _whole, "float64": _number, "bool": _flag}


def _kind(value: Any) -> str:
    if isinstance(value, str):
        return f'"{printable(value, 40)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {int: "a number", float: "a number", dict: "an object", list: "a list", bytes: "bytes"}
    return names.get(type(value), type(value).__name__)
