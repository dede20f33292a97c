"""Batch norm over the batch of all processes, for the CPU.

`torch.nn.SyncBatchNorm` refuses tensors that are not on an accelerator, and plain batch norm under
DistributedDataParallel normalises each process's share by its own statistics: another model than the one a single
process trains on the same global batch.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


class _AllReduceSum(torch.autograd.Function):
    """Sum over the processes. Every process's result depends on every process's input, so gradients are summed too."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total


def _sum_over_processes(x: Tensor) -> Tensor:
    total: Tensor = _AllReduceSum.apply(x)
    return total


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d, [B, C, H, W] -> the same, whose training statistics are those of all processes together.

    Processes may hold different numbers of samples, but none may hold zero. In eval mode it is BatchNorm2d.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x_BCHW)
        assert self.momentum is not None and self.running_mean is not None and self.running_var is not None
        axes = (0, 2, 3)
        count = torch.tensor(float(x_BCHW.numel() // x_BCHW.shape[1]), dtype=x_BCHW.dtype, device=x_BCHW.device)
        dist.all_reduce(count)
        # Two rounds, the mean first: in one, the variance would be the difference of two large sums.
        mean_C = _sum_over_processes(x_BCHW.sum(axes)) / count
        centred_BCHW = x_BCHW - mean_C.view(1, -1, 1, 1)
        variance_C = _sum_over_processes(centred_BCHW.square().sum(axes)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(variance_C * (count / (count - 1)), self.momentum)  # unbiased, as BatchNorm2d has it
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        scale_C = self.weight * torch.rsqrt(variance_C + self.eps)
        normed_BCHW: Tensor = centred_BCHW * scale_C.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)
        return normed_BCHW


def convert(module: nn.Module) -> nn.Module:
    """Replace every BatchNorm2d inside `module`; parameters and buffers stay the same objects. Returns the module."""
    if type(module) is nn.BatchNorm2d:
        new = GlobalBatchNorm2d(module.num_features, module.eps, module.momentum)
        new.weight, new.bias = module.weight, module.bias
        new.running_mean, new.running_var = module.running_mean, module.running_var
        new.num_batches_tracked = module.num_batches_tracked
        new.train(module.training)
        return new
    for name, child in module.named_children():
        setattr(module, name, convert(child))
    return module
