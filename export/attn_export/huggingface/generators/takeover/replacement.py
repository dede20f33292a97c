"""What is replaced while a view runs: masks, attention and how tokens are counted; all of it is given back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

import transformers
from torch import Tensor, nn
from transformers import masking_utils
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .attend import attend
from .cache import registered
from .masks import added_mask, mask
from .place import counted_from

#: The attention implementation that is ours, in the words of `config._attn_implementation`.
_NAME = "attn_export"


@contextmanager
def taken_over(model: nn.Module) -> Iterator[None]:
    """Masks by position, for every model; our attention, where a model takes its attention from AttentionInterface.

    Models with attention of their own get keys with the new entry written in, and a mask that is added.
    """
    masks = masking_utils.ALL_MASK_ATTENTION_FUNCTIONS._global_mapping
    with ExitStack() as stack:
        stack.enter_context(mock.patch.dict(masks, {_NAME: mask, "sdpa": mask, "eager": added_mask}))
        stack.enter_context(mock.patch.dict(ALL_ATTENTION_FUNCTIONS._global_mapping, {_NAME: attend}))
        for part in model.modules():
            if isinstance(part, transformers.PreTrainedModel) and _takes_masks_of_ours(part):
                stack.enter_context(mock.patch.object(part.config, "_attn_implementation_internal", _NAME))
        stack.enter_context(registered())
        stack.enter_context(counted_from())
        yield


def _takes_masks_of_ours(part: transformers.PreTrainedModel) -> bool:
    """Whether all of its attention comes from AttentionInterface, which alone reads a mask of booleans.

    One that names no other implementation than the eager one (BigBird-Pegasus) may add the mask to scores in another layer.
    """
    others = part._supports_sdpa or part._supports_flash_attn or part._supports_flex_attn
    return bool(others) and part._can_set_attn_implementation()


@contextmanager
def last_only(model: nn.Module, last: Tensor) -> Iterator[None]:
    """The head over the vocabulary, by far the largest product of a prompt, is given each row's token `last`, int64 [B],
    alone. What is done to logits behind the head (scaling, a softcap, a bias) stays as it is."""

    def gather(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (args[0].gather(1, last[:, None, None].expand(-1, 1, args[0].shape[2])), *args[1:])

    hook = model.get_output_embeddings().register_forward_pre_hook(gather)  # type: ignore[operator]
    try:
        yield
    finally:
        hook.remove()
