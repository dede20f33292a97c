"""Which numbers a training computes with."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from attn_runtime.errors import BackendError


def choose(requested: str, device: torch.device) -> str:
    """fp32 or bf16 for auto, fp32 or bf16: auto is bf16 on a GPU that has it. Raises BackendError for bf16 elsewhere."""
    able = device.type == "cuda" and torch.cuda.is_bf16_supported()
    if requested == "bf16" and not able:
        raise BackendError(f"precision bf16: needs a GPU with bfloat16, this is {device.type}. Use --precision fp32.")
    return "bf16" if requested != "fp32" and able else "fp32"


def autocast(chosen: str) -> AbstractContextManager[object]:
    """Around forward and loss. Weights, gradients and the optimiser stay in float32, so bfloat16 needs no loss scaling."""
    return torch.autocast("cuda", torch.bfloat16) if chosen == "bf16" else nullcontext()
