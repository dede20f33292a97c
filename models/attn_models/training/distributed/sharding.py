"""Parameters split over the processes (FSDP2), and whole again for files.

`fully_shard` keeps of every parameter one part per process and collects a layer's parameters when the layer runs.
Parameters of zero dimensions can't be split: they stay whole, and their gradients are averaged here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(module: nn.Module, device: torch.device) -> nn.Module:
    """Shard every layer of every `nn.ModuleList` by itself, and the rest together; keys of the state dict stay."""
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    whole = set(unsharded_parameters(module))
    layers = [layer for part in module.modules() if isinstance(part, nn.ModuleList) for layer in part]
    for layer in reversed(layers):  # the inner ones first, as fully_shard wants it
        if any(True for _ in layer.parameters()):
            fully_shard(layer, mesh=mesh, ignored_params=whole)
    fully_shard(module, mesh=mesh, ignored_params=whole)
    return module


def unsharded_parameters(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.ndim == 0]


def average_unsharded_gradients(module: nn.Module) -> None:
    """What fully_shard does for the gradients of all others."""
    for parameter in unsharded_parameters(module):
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


def clip(module: nn.Module, limit: float) -> None:
    """Scale all gradients down together to an L2 norm of `limit`, where it is more."""
    parameters = [p for p in module.parameters() if p.grad is not None]
    split = [p for p in parameters if isinstance(p, DTensor)]
    whole = [p for p in parameters if not isinstance(p, DTensor)]
    norms = [nn.utils.get_total_norm([p.grad for p in some if p.grad is not None]) for some in (split, whole) if some]
    norm = torch.stack([n.full_tensor() if isinstance(n, DTensor) else n for n in norms]).square().sum().sqrt()
    for some in (split, whole):
        nn.utils.clip_grads_with_norm_(some, limit, norm)


@contextmanager
def collected(module: nn.Module) -> Iterator[None]:
    """Inside, every process holds all parameters whole, and any part of the module may be called."""
    sharded = [part for part in module.modules() if isinstance(part, FSDPModule)]
    for part in sharded:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in sharded:
            part.reshard()
            part.set_reshard_after_forward(True, recurse=False)


def whole(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """On the CPU and whole, each with memory of its own. All processes must call this; those that don't `keep` get {}."""
    kept: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        full = (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach()
        if keep:
            full = full.cpu().contiguous()
            # Tied weights share memory, which safetensors refuses.
            kept[name] = full.clone() if full.untyped_storage().data_ptr() in storages else full
            storages.add(full.untyped_storage().data_ptr())
    return kept


@torch.no_grad()
def like(full: Tensor, parameter: Tensor) -> Tensor:
    """`full`, whole on every process, split as `parameter` is, if it is."""
    if not isinstance(parameter, DTensor) or full.shape != parameter.shape:
        return full
    # No source: every process has read the same file, so none has to send it to the others.
    return distribute_tensor(full.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None)
