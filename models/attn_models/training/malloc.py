"""Memory that a CPU training frees stays with the process."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Tell glibc's malloc not to hand large blocks back to the kernel; returns whether it listened.

    Every step of a training allocates the same large tensors, and the kernel fills each page with zeros again: that took
    a third of the processor time of AttentionNet on images of 64 pixels. The process then keeps its largest size.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    return mallopt is not None and bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
