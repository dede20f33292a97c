"""Reading and writing bytes that nobody vouches for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .atomic_write import Staging, name_excess, recover, sweep, write_file, write_whole
    from .json_schema import find_problem
    from .regular_file import irregular
    from .resident_memory import peak_memory, reset_peak_memory
    from .streams import MAX_STREAM_BYTES, bytes_or_path, open_descriptor
    from .strict_json import MAX_JSON_BYTES, parse_json, read_json, shown

__all__ = [
    "MAX_JSON_BYTES",
    "MAX_STREAM_BYTES",
    "Staging",
    "bytes_or_path",
    "find_problem",
    "irregular",
    "name_excess",
    "open_descriptor",
    "parse_json",
    "peak_memory",
    "read_json",
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
        "streams": ["MAX_STREAM_BYTES", "bytes_or_path", "open_descriptor"],
        "strict_json": ["MAX_JSON_BYTES", "parse_json", "read_json", "shown"],
    },
)
