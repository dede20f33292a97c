"""TensorRT comes in two flavours with one API: `tensorrt` (servers, Jetson) and `rtx` (RTX cards).

The enum values and calls differ by version; look each up by name on the module and never write a bit down.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from functools import cache
from typing import Any

from ..errors import UsageError, did_you_mean
from ..lazy import dataclass

#: flavour -> (module, what installs it, the oldest version whose networks can be strongly typed and whose I/O is named)
_KNOWN = {
    "rtx": ("tensorrt_rtx", "pip install tensorrt-rtx-cu13 cuda-python", (1, 0)),
    "tensorrt": ("tensorrt", "pip install tensorrt cuda-python (on Jetson: JetPack brings it)", (10, 3)),
}
# Of JetPack 6.0. It has no strongly typed networks: fp32 alone can be promised there (compile.py).
_OLD = {"tensorrt": (8, 6)}


@dataclass(frozen=True)
class Library:
    """`api` is the imported module, `version` its full version ("1.7.1.116")."""

    name: str
    version: str
    api: Any

    @property
    def is_old(self) -> bool:
        """Whether this is TensorRT 8: its networks can't be strongly typed, and their borders can't be int64."""
        return self.name == "tensorrt" and version_tuple(self.version) < (10,)

    @property
    def types_weakly(self) -> bool:
        """Whether it can be let choose the types of layers; TensorRT 11 and RTX have no such networks."""
        return self.name == "tensorrt" and version_tuple(self.version) < (11,)


def names() -> list[str]:
    return sorted(_KNOWN)


def check_name(name: str) -> None:
    """UsageError unless `name` is a flavour."""
    if name not in _KNOWN:
        raise UsageError(
            f'unknown TensorRT flavour "{name}"; {did_you_mean(name, _KNOWN)}available: {", ".join(names())}'
        )


@cache
def why_unavailable(name: str) -> str | None:
    """None when the flavour can be imported here and is new enough, else the reason and what to install."""
    check_name(name)
    module, install, oldest = _KNOWN[name]
    if importlib.util.find_spec(module) is None:
        return f"{module} is not installed; {install}"
    try:
        found = importlib.import_module(module)
        version = str(found.__version__)
        found.Builder  # noqa: B018  (the lean and dispatch packages have none, a broken installation neither)
    except Exception as error:
        # The pip packages raise what they like (FileNotFoundError, RuntimeError) when their libraries are missing.
        return f"{module} is installed but does not load ({' '.join(str(error).split())[:200]}); {install}"
    if version_tuple(version) < oldest and version_tuple(version)[:2] != _OLD.get(name):
        return f"{module} {version} is too old; strongly typed networks need {'.'.join(map(str, oldest))} or newer"
    return None


def load(name: str) -> Library:
    """The flavour `name`; call `why_unavailable` first."""
    check_name(name)
    api = importlib.import_module(_KNOWN[name][0])
    return Library(name, str(api.__version__), api)


def version_tuple(version: str) -> tuple[int, ...]:
    """(1, 7, 1, 116) for "1.7.1.116"; a suffix that is no number ends it."""
    return tuple(int(part) for part in re.match(r"[0-9.]*", version)[0].strip(".").split(".") if part)  # type: ignore[index]
