"""Python's garbage collector, kept out of TensorRT's own calls.

While TensorRT-RTX (1.7) makes a builder, it holds a mutex of the process and calls our logger, which is Python. A collection that
happens to run there may let go of an older builder that nobody has any more; that waits for the same mutex, for ever.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

from .. import forks

_lock = forks.lock()
_inside = 0
_to_enable = False


@contextmanager
def collector_paused() -> Iterator[None]:
    """No collection runs in the block, in any thread. What nothing refers to in a circle is let go of as always."""
    global _inside, _to_enable
    with _lock:
        if not _inside:
            _to_enable = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _to_enable:
                gc.enable()
