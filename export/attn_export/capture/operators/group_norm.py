"""Group normalization: as instance normalization of one long channel a group.

ONNX defines GroupNormalization (opset 21) by a variance that is a difference of squares, and ONNX Runtime (1.31.1, CPU)
computes it so: where the mean is 100 times the deviation the answers are wrong by 7e-3, where PyTorch's are by 6e-6.
TensorRT's parser (TensorRT-RTX 1.7.1) reads the operator with one group as the layer that it makes of
InstanceNormalization: each channel by itself, which is another function, and it says nothing. What is written here is
what the exporter writes below opset 21, and every engine reads it alike.
"""

from __future__ import annotations

import torch

from .building_blocks import Call, Form, arguments, value


def _write(node: torch.fx.Node) -> Call | None:
    given = arguments(node)
    if not value(given["input"]).is_floating_point():
        return None
    native = "native" in node.target._schema.name  # type: ignore[union-attr]
    groups = given["group"] if native else given["num_groups"]
    return Call(
        normalized_by_group,
        (given["input"], groups, given["weight"], given["bias"], given["eps"]),
        {"statistics": native},
    )


def normalized_by_group(
    x: torch.Tensor,
    groups: int,
    weight: torch.Tensor | None,
    bias: torch.Tensor | None,
    eps: float,
    statistics: bool,
) -> torch.Tensor | tuple[torch.Tensor, None, None]:
    """x [N, C, ...] normalized over each of `groups` runs of channels, times weight [C] plus bias [C].

    With `statistics` it answers three things as native_group_norm does, of which a model reads the first alone.
    """
    long = x.reshape(x.shape[0], groups, -1)
    answer = torch.instance_norm(long, None, None, None, None, True, 0.0, eps, False).reshape(x.shape)
    channels = [-1, *[1] * (x.dim() - 2)]
    if weight is not None:
        answer = answer * weight.reshape(channels)
    if bias is not None:
        answer = answer + bias.reshape(channels)
    return (answer, None, None) if statistics else answer


FORM = Form(frozenset({"group_norm", "native_group_norm"}), _write)
