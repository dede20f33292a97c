"""fully-masked-rows: a query whose keys are all masked attends to nothing and gets 0, as in PyTorch.

scaled_dot_product_attention answers 0 for such a row (padding does that to whole rows). The graphs that exporters
write answer otherwise: torch.onnx turns a boolean mask into 0 and the smallest finite number, so the row becomes the
plain mean of all values and the NaN guard behind the softmax never fires; a float mask of -inf gives NaN.

Here a boolean mask becomes that same float mask before the exporter sees it, which leaves out the guard over the
whole attention matrix, and rows without any key are set to 0 in the output, which is smaller. Float masks keep their
values: only -inf in the whole row gives 0 in PyTorch, the smallest finite number gives the mean in both. (Up to opset 22: for
ONNX Runtime's own Attention of later ones it is -inf, and the row 0; the check of the capture then refuses the graph.)
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

    def wrap(attend: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def scaled_dot_product_attention(
            query: torch.Tensor,
            key: torch.Tensor,
            value: torch.Tensor,
            attn_mask: torch.Tensor | None = None,
            *args: Any,
            **kwargs: Any,
        ) -> torch.Tensor:
            if attn_mask is None:
                return attend(query, key, value, None, *args, **kwargs)
            tally.note("call")
            # any(), not amax(): amax asks whether there are keys at all, a question that some dims can't answer.
            if attn_mask.dtype is torch.bool:
                kept = attn_mask.any(-1, keepdim=True)
                attn_mask = torch.where(attn_mask, 0.0, torch.finfo(query.dtype).min).to(query.dtype)
            else:
                kept = (attn_mask > -torch.inf).any(-1, keepdim=True)
            answer = attend(query, key, value, attn_mask, *args, **kwargs)
            return torch.where(kept, answer, torch.zeros((), dtype=answer.dtype, device=answer.device))

        return scaled_dot_product_attention

    functional = torch.nn.functional
    operator = torch.ops.aten.scaled_dot_product_attention.default
    with replaced(functional, "scaled_dot_product_attention", wrap, module, operator):
        yield (
            lambda: (
                f"{counted(tally.total, 'masked attention call')} made to answer 0 where every key is masked"
                if tally
                else None
            )
        )


PATCH = Patch("fully-masked-rows", _enter)
