"""transformer-causal: nn.TransformerEncoder and nn.TransformerDecoder don't look into the mask while captured.

Given a mask and no `is_causal`, they compare the mask with a causal one, value by value, and branch on the answer,
which no exporter can follow. The answer only chooses a faster kernel: the mask itself is applied either way. So what
the caller said counts, and nothing said counts as "not known to be causal".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ._patch import Effect, Patch, Tally, counted
from ._replace import replaced


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    tally = Tally()

    def wrap(original: Callable[..., Any]) -> Callable[..., bool]:
        def trusted(mask: torch.Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
            if is_causal is None and mask is not None:
                tally.note("mask")
            return is_causal is True

        return trusted

    with replaced(torch.nn.modules.transformer, "_detect_is_causal_mask", wrap):
        yield (
            lambda: (
                f"left out {counted(tally.total, 'comparison')} of a mask's values with a causal mask; the mask is applied"
                if tally
                else None
            )
        )


PATCH = Patch("transformer-causal", _enter)
