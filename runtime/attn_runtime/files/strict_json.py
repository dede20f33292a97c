"""JSON as a bundle may hold it: of bounded size, with no key twice, no NaN or infinity, no integer beyond 64 bits.

Python's own reader keeps the last of two equal keys, accepts NaN and turns 1e999 into infinity; a reader in another
language would see something else, and a hash check is worth little where two readers see two manifests.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ..errors import BundleError
from .regular_file import irregular, open_regular

#: Nobody's manifest is larger: 60 000 checks of one export stay under it.
MAX_JSON_BYTES = 16 * 2**20
#: Of a file of `assets`: tokenizers of 250,000 words and more take some 35 MB.
MAX_ASSET_BYTES = 64 * 2**20


def shown(value: Any, limit: int = 80) -> str:
    """A value from an untrusted file for a one-line message: ASCII, escaped and cut at `limit` characters."""
    text = json.dumps(value, default=repr)
    return text if len(text) <= limit else f"{text[:limit]}... ({len(text)} characters)"


def read_json(path: Path, where: str, limit: int = MAX_JSON_BYTES) -> Any:
    """The value in `path`. `where` opens the message ("bundle a.attn").

    Raises BundleError when the file is missing, not a regular file, larger than `limit` bytes, or not strict JSON.
    """
    return parse_json(read_limited(path, where, limit), f"{where}: {path.name}")


def read_limited(path: Path, where: str, limit: int = MAX_JSON_BYTES) -> bytes:
    """The bytes of `path`. Raises BundleError as `read_json` does, whatever they say."""
    name = path.name
    try:
        with open_regular(path) as f:
            data = f.read(limit + 1)
    except FileNotFoundError:
        raise BundleError(f"{where}: {name} is missing; re-export the bundle or restore the file") from None
    except OSError as error:
        if problem := irregular(path):
            raise BundleError(f"{where}: {name} {problem}; re-export the bundle") from None
        raise BundleError(f"{where}: can't read {name}: {error.strerror}; check its permissions") from None
    if len(data) > limit:
        raise BundleError(
            f"{where}: {name} is larger than {limit} bytes, the most a reader accepts; re-export the bundle"
        )
    return data


def parse_json(data: bytes, where: str) -> Any:
    """The value that `data` spells in UTF-8. Whole floats come back as int: in JSON 1.0 and 1 are one number.

    Raises BundleError for anything but strict JSON.
    """
    advice = "re-export the bundle or restore the file"
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=once_each,
            parse_constant=_no_constant,
            parse_float=_finite_float,
            parse_int=_int64,
        )
        # A lone surrogate survives parsing, and would break the first print of the string that holds it.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except _Refused as error:
        raise BundleError(f"{where}: {error}; {advice}") from None
    except json.JSONDecodeError as error:
        raise BundleError(
            f"{where} is not JSON: {error.msg} at line {error.lineno} column {error.colno}; {advice}"
        ) from None
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise BundleError(f"{where} is not UTF-8: {error.reason}; {advice}") from None
    except RecursionError:
        raise BundleError(f"{where} is nested too deeply; {advice}") from None
    return value


class _Refused(ValueError):
    """Well-formed JSON that a bundle must not hold."""


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object_pairs_hook of `json.loads`, for readers that are less strict otherwise. ValueError for a key said twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Refused(f"key {shown(key)} occurs twice in one object")
        found[key] = value
    return found


def _no_constant(text: str) -> Any:
    raise _Refused(f"{text} is no JSON number, expected a finite one or null")


def _finite_float(text: str) -> float | int:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused(f"number {shown(text, 40)} is out of range, expected a finite double")
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _int64(text: str) -> int:
    # Length first: turning a million digits into an int takes minutes, or fails in a way of its own.
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise _Refused(f"integer {shown(text, 40)} is out of range, expected 64 bits")
    return int(text)
