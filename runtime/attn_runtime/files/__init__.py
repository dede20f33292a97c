"""Reading and writing bytes that nobody vouches for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .atomic_write import Staging, name_excess, recover, sweep, write_file, write_whole
    from .json_schema import find_problem
    from .regular_file import irregular
    from .resident_memory import peak_memory, reset_peak_memory
    from .strict_json import MAX_JSON_BYTES, parse_json, read_json, read_limited, shown

__all__ = [
    "MAX_JSON_BYTES",
    "Staging",
    "find_problem",
    "irregular",
    "name_excess",
    "parse_json",
    "peak_memory",
    "read_json",
    "read_limited",
    "recover",
    "reset_peak_memory",
    "shown",
    "sweep",
    "write_file",
    "write_whole",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "atomic_write": ["Staging", "name_excess", "recover", "sweep", "write_file", "write_whole"],
        "json_schema": ["find_problem"],
        "regular_file": ["irregular"],
        "resident_memory": ["peak_memory", "reset_peak_memory"],
        "strict_json": ["MAX_JSON_BYTES", "parse_json", "read_json", "read_limited", "shown"],
    },
)
