"""frozen-parameters: no parameter or buffer requires a gradient while the model is captured.

PyTorch picks other kernels, with other memory layouts, for tensors that require gradients. The graph is captured
under one choice and decomposed for ONNX under the other, and a `view` that fitted the first layout fails on the
second: "Cannot view a tensor with shape ... and strides ...". Whether that happens is known only by exporting twice,
so the patch is applied to every model and marked as routine.

A frozen nn.TransformerEncoderLayer would take its fused inference path, which has no ONNX translation either; that
path is switched off meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch

from ._patch import Effect, Patch, counted


@contextmanager
def _enter(module: torch.nn.Module) -> Iterator[Effect]:
    # Tensors that share storage are yielded once by parameters(); a non-leaf buffer can't be frozen and isn't ours.
    frozen = [t for t in chain(module.parameters(), module.buffers()) if t.requires_grad and t.is_leaf]
    fused = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        for tensor in frozen:
            tensor.requires_grad_(False)
        yield lambda: f"froze {counted(len(frozen), 'tensor')} that required gradients" if frozen else None
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for tensor in frozen:
            tensor.requires_grad_(True)


PATCH = Patch("frozen-parameters", _enter, routine=True)
