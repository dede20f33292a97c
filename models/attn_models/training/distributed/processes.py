"""The processes that train together, as torchrun starts them; one process without torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.distributed as dist
from attn_runtime.errors import BackendError
from torch import Tensor, nn

from ...recipe import Split
from . import sharding, sync_batch_norm


@dataclass(frozen=True)
class Processes:
    """This process among those that train together: a handle to talk to the others through."""

    rank: int
    size: int
    device: torch.device
    group: bool  # whether there is a process group to talk through

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints and writes files."""
        return self.rank == 0

    def share(self, batch: Split) -> Split:
        """This process's part of a global batch, on its device; the parts differ by one sample at most."""
        return self.to_device(batch[self.rank :: self.size])

    def to_device(self, batch: Split) -> Split:
        inputs = {name: tensor.to(self.device) for name, tensor in batch.inputs.items()}
        return Split(inputs, batch.targets.to(self.device))

    def sum(self, value: Tensor) -> Tensor:
        if self.group:
            dist.all_reduce(value)
        return value

    def wait(self) -> None:
        if self.group:
            dist.barrier()

    def distribute(self, module: nn.Module, fsdp: bool = False) -> nn.Module:
        """What to call in training: `module` itself, or one that trains the same parameters with the other processes.

        Batch norms inside `module` are replaced by ones that see the global batch; its state dict keeps its keys. With
        `fsdp` the parameters are replaced by shards of them, so an optimiser must be made afterwards.
        """
        if not self.group:
            return module
        on_cuda = self.device.type == "cuda"
        module = nn.SyncBatchNorm.convert_sync_batchnorm(module) if on_cuda else sync_batch_norm.convert(module)
        if fsdp:
            return sharding.shard(module, self.device)
        # The running statistics are equal everywhere already; no need to send rank 0's before every step.
        return nn.parallel.DistributedDataParallel(module, forward_sync_buffers=False)

    @contextmanager
    def backward(self, parallel: nn.Module, last: bool) -> Iterator[None]:
        """Around forward and backward of one part of a batch; gradients travel between the processes at the `last`."""
        if isinstance(parallel, nn.parallel.DistributedDataParallel):
            with nullcontext() if last else parallel.no_sync():
                yield
        elif isinstance(parallel, sharding.FSDPModule):
            parallel.set_requires_gradient_sync(last)
            yield
            if last:
                sharding.average_unsharded_gradients(parallel)
        else:
            yield

    def unsharded(self, module: nn.Module) -> AbstractContextManager[None]:
        """Around code that calls parts of `module` itself; only all processes together can enter it."""
        return sharding.collected(module)


@contextmanager
def joined_processes(device: str = "auto") -> Iterator[Processes]:
    """Join the processes that torchrun started. `device` is auto (CUDA if there is any), cpu or cuda.

    Raises BackendError if CUDA was asked for and is not there, or if it has fewer devices than there are processes.
    """
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    use_cuda = device == "cuda" or (device == "auto" and available > 0)
    rank, size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local_rank, local_size = int(os.environ.get("LOCAL_RANK", 0)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    if use_cuda and local_size > available:
        raise BackendError(
            f"device cuda: {local_size} process(es) on this machine need as many GPUs, found {available}. "
            f"Use --device cpu" + (f" or torchrun --nproc-per-node {available}." if available else ".")
        )
    if use_cuda:
        torch.cuda.set_device(local_rank)
    place = torch.device("cuda", local_rank) if use_cuda else torch.device("cpu")
    group = "RANK" in os.environ and "WORLD_SIZE" in os.environ
    joining = group and not dist.is_initialized()  # a caller's own group is used, and left as it is
    if joining:
        dist.init_process_group("nccl" if use_cuda else "gloo")
    try:
        yield Processes(rank, size, place, group)
        if joining:
            # One that left first and failed on its way out would take the others along while they still write. And gloo's
            # threads let go of the last tensors, for which they need an interpreter that is not ending.
            dist.barrier()
    finally:
        if joining:
            dist.destroy_process_group()
