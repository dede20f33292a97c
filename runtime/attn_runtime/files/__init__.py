"""Reading and writing bytes that nobody vouches for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy import lazy

if TYPE_CHECKING:
    from .atomic_write import Staging, recover, sweep, write_file, write_whole
    from .json_schema import find_problem
    from .output_place import check_file, folder_problem, not_written, output_problem, too_long
    from .own_folder import is_own, own_cache_folder
    from .path_encoding import not_utf8, utf8_path
    from .regular_file import (
        copy_command,
        irregular,
        is_file,
        is_folder,
        open_regular,
        reason,
        resolved,
    )
    from .resident_memory import peak_memory, reset_peak_memory
    from .streams import MAX_STREAM_BYTES, bytes_or_path, open_descriptor, source_name
    from .strict_json import MAX_ASSET_BYTES, MAX_JSON_BYTES, once_each, parse_json, read_json, read_limited, shown
    from .turns import changing

__all__ = [
    "MAX_ASSET_BYTES",
    "MAX_JSON_BYTES",
    "MAX_STREAM_BYTES",
    "Staging",
    "bytes_or_path",
    "changing",
    "check_file",
    "copy_command",
    "find_problem",
    "folder_problem",
    "irregular",
    "is_file",
    "is_folder",
    "is_own",
    "not_utf8",
    "not_written",
    "once_each",
    "open_descriptor",
    "open_regular",
    "output_problem",
    "own_cache_folder",
    "parse_json",
    "peak_memory",
    "read_json",
    "read_limited",
    "reason",
    "recover",
    "reset_peak_memory",
    "resolved",
    "shown",
    "source_name",
    "sweep",
    "too_long",
    "utf8_path",
    "write_file",
    "write_whole",
]

__getattr__, __dir__ = lazy(
    __name__,
    __all__,
    {
        "atomic_write": ["Staging", "recover", "sweep", "write_file", "write_whole"],
        "json_schema": ["find_problem"],
        "own_folder": ["is_own", "own_cache_folder"],
        "regular_file": [
            "copy_command",
            "irregular",
            "is_file",
            "is_folder",
            "open_regular",
            "reason",
            "resolved",
        ],
        "resident_memory": ["peak_memory", "reset_peak_memory"],
        "streams": ["MAX_STREAM_BYTES", "bytes_or_path", "open_descriptor", "source_name"],
        "strict_json": [
            "MAX_ASSET_BYTES",
            "MAX_JSON_BYTES",
            "once_each",
            "parse_json",
            "read_json",
            "read_limited",
            "shown",
        ],
        "output_place": ["check_file", "folder_problem", "not_written", "output_problem", "too_long"],
        "path_encoding": ["not_utf8", "utf8_path"],
        "turns": ["changing"],
    },
)
