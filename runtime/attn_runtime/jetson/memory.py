"""Memory of a board, which CPU and GPU share: what is free, and how much of it an engine may be given while it is built."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ..errors import EngineError
from ..text_format import bytes_text

_MIB = 2**20
# What a build takes beside its scratch memory: the library and its kernels with a CUDA context, and the weights as they are
# read, in the network and in the engine. Ours, not measured on a board.
_LIBRARY, _COPIES = 900 * _MIB, 3
#: Less scratch memory than this rules out too many kernels.
_LEAST_WORKSPACE = 64 * _MIB


@dataclass(frozen=True)
class Budget:
    """Bytes: free before the build, `taken` by everything but scratch memory (an estimate), and the scratch memory allowed."""

    available: int | None
    taken: int
    workspace: int


def available_memory(root: Path = Path("/")) -> int | None:
    """Bytes that programs can have without swapping; None where the system does not tell."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", (root / "proc/meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def plan_build(weights: int, most_workspace: int, available: int | None, asked: int | None = None) -> Budget:
    """How much scratch memory the build of a graph with `weights` bytes may take: `asked`, else what the board and its free
    memory allow. EngineError where there is no room to begin with.
    """
    taken = _LIBRARY + _COPIES * weights
    if available is None:
        return Budget(None, taken, asked or most_workspace)
    room = available - taken
    least = asked or _LEAST_WORKSPACE
    if room < least:
        raise EngineError(
            f"{bytes_text(available)} of memory are free, and the build takes about {bytes_text(taken + least)}; close "
            f"other programs (sudo systemctl isolate multi-user.target ends the desktop) or add swap, and run setup.sh again"
        )
    # Half of the room: the engine itself, and whatever else the board does, need the rest.
    return Budget(available, taken, asked or max(_LEAST_WORKSPACE, min(most_workspace, room // 2)))
