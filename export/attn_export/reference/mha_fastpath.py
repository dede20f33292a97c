"""PyTorch's answers without its inference shortcut for nn.TransformerEncoder and nn.MultiheadAttention.

In eval mode these switch to fused kernels over nested tensors, which answer zeros at padded positions, cut the output
to the longest row, and fail on a row that is all padding. The graph follows the module's own arithmetic, and so must
the reference.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fastpath_disabled() -> Iterator[None]:
    """Keeps PyTorch's fast path off while it is open."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
