"""The weights of a model of timm, drawn again: what `timm:NAME` is exported with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from tiny_models import MOST, draw_again

#: Vision transformers of one block behave as those of forty.
_FEWER: dict[str, Any] = {"depth": 2}


def save_timm_weights(name: str, file: Path) -> dict[str, Any]:
    """Write weights for the architecture `name` of timm into `file`: {"parameters": how many, "config": what it is made with}.

    One of more parameters than a survey has time for is made of fewer blocks, where it takes `depth`.
    """
    config: dict[str, Any] = {}
    with torch.device("meta"):
        model = timm.create_model(name)
        if _parameters(model) > MOST:
            try:
                timm.create_model(name, **_FEWER)
                config = _FEWER
            except (TypeError, ValueError, RuntimeError):  # other architectures have other arguments
                pass
    torch.manual_seed(0)
    model = timm.create_model(name, **config).eval()
    draw_again(model)
    torch.save(model.state_dict(), file)
    return {"parameters": _parameters(model), "config": config}


def _parameters(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())
