"""What an engine must fit: the TensorRT flavours here with their full versions, the GPU, the operating system."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ..device import compute_capability
from . import library


@dataclass(frozen=True)
class Machine:
    """flavours            flavour -> full version, of those that load here
    compute_capability  of the GPU, as in "8.9"; None without one
    os                  system and processor, as in "linux-x86_64", "linux-aarch64", "win32-amd64"
    """

    flavours: Mapping[str, str]
    compute_capability: str | None
    os: str


def this_machine(number: int = 0) -> Machine:
    """This machine, with GPU `number`. Loads every flavour that is installed."""
    usable = [name for name in library.names() if library.why_unavailable(name) is None]
    return Machine({name: library.load(name).version for name in usable}, compute_capability(number), os_name())


def os_name() -> str:
    """This system and processor, as in "linux-x86_64"."""
    return f"{sys.platform}-{platform.machine()}".lower()
