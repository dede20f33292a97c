"""Whether threads wait busily behind a call, by the processor time that passes while the process does nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from support.models.tiny_generators import Tiny

#: Its products are worth a second thread.
WIDE = Tiny(heads=8, key_heads=8, head_size=64, layers=1)


def busy(call: Callable[[], object]) -> float:
    """Seconds of processor time in 0.1 s of nothing behind `call`, the median of five."""
    spent = []
    for _ in range(5):
        call()
        began = time.process_time()
        time.sleep(0.1)
        spent.append(time.process_time() - began)
    return sorted(spent)[2]
