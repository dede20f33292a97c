"""Group normalization with one group, over a whole picture: as instance normalization of one long channel.

TensorRT's parser (TensorRT-RTX 1.7.1) reads GroupNormalization with num_groups=1 as the layer that it makes of
InstanceNormalization: each channel by itself, which is another function, and it says nothing. What is written here is
what the exporter writes below opset 21 for any number of groups, and every engine reads it alike.
"""

from __future__ import annotations

import torch

from .building_blocks import Call, Form, arguments, value


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    if given.get("num_groups", given.get("group")) != 1 or not value(given["input"]).is_floating_point():
        return None
    native = "native" in node.target._schema.name  # type: ignore[union-attr]
    return Call(
        normalized_as_a_whole,
        (given["input"], given["weight"], given["bias"], given["eps"]),
        {"statistics": native},
    )


def normalized_as_a_whole(
    x: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float, statistics: bool
) -> torch.Tensor | tuple[torch.Tensor, None, None]:
    """x [N, C, ...] normalized over all but N, times weight [C] plus bias [C].

    With `statistics` it answers three things as native_group_norm does, of which a model reads the first alone.
    """
    whole = x.reshape(x.shape[0], 1, -1)
    answer = torch.instance_norm(whole, None, None, None, None, True, 0.0, eps, False).reshape(x.shape)
    channels = [-1, *[1] * (x.dim() - 2)]
    if weight is not None:
        answer = answer * weight.reshape(channels)
    if bias is not None:
        answer = answer + bias.reshape(channels)
    return (answer, None, None) if statistics else answer


FORM = Form(frozenset({"group_norm", "native_group_norm"}), _write)
