"""A model of transformers as the module of one graph: the declared inputs in, the outputs that are wanted out."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Task(nn.Module):
    """`model` with masks as booleans, and of its answers those of `outputs` alone, by name.

    fill        the token that stands where the mask is false, whatever the caller left there: for models that find the end
                of a text by it, and not by the mask; None leaves the tokens alone
    front_end   makes of the input `heard` what the model takes as `fed`: of sound a spectrogram
    """

    def __init__(
        self,
        model: nn.Module,
        names: Sequence[str],
        outputs: Sequence[str],
        *,
        fill: int | None = None,
        front_end: nn.Module | None = None,
        heard: str = "",
        fed: str = "",
    ) -> None:
        super().__init__()
        self.model, self.front_end = model, front_end
        self.names, self.outputs, self.fill = tuple(names), tuple(outputs), fill
        self.heard, self.fed = heard, fed
        self.fixed = {"return_dict": True} if "return_dict" in inspect.signature(model.forward).parameters else {}

    def forward(self, *given: Tensor) -> dict[str, Tensor]:
        answered = self.answer(given)
        return {name: answered[name] for name in self.outputs}

    def answer(self, given: Sequence[Tensor]) -> Any:
        """All that the model itself answers."""
        named = with_mask(self.names, given, self.fill)
        if self.front_end is not None:
            made = self.front_end(named.pop(self.heard))
            named |= made if isinstance(made, dict) else {self.fed: made}
        return self.model(**named, **self.fixed)


class Tower(nn.Module):
    """One side of a model that compares two: its features, scaled to length 1 where those of the whole model are.

    method      of the model, which makes the features
    output      what they are called, as in the answers of the whole model
    fill        as of a `Task`
    """

    def __init__(
        self, model: Any, method: str, names: Sequence[str], output: str, *, normalize: bool, fill: int | None = None
    ) -> None:
        super().__init__()
        self.model, self.method, self.names, self.output = model, method, tuple(names), output
        self.normalize, self.fill = normalize, fill

    def forward(self, *given: Tensor) -> dict[str, Tensor]:
        features = features_of(getattr(self.model, self.method)(**with_mask(self.names, given, self.fill)))
        return {self.output: features / features.norm(p=2, dim=-1, keepdim=True) if self.normalize else features}


def with_mask(names: Sequence[str], given: Sequence[Tensor], fill: int | None) -> dict[str, Any]:
    """Inputs by name, a boolean mask as the integers that models count with, and `fill` where it is false."""
    named: dict[str, Any] = dict(zip(names, given, strict=True))
    mask = named.get("attention_mask")
    if mask is not None and mask.dtype == torch.bool:
        if fill is not None:
            named["input_ids"] = named["input_ids"].masked_fill(~mask, fill)
        named["attention_mask"] = mask.long()
    return named


def features_of(answered: Any) -> Tensor:
    """The features of get_text_features and its like: a tensor, or in transformers 5 the pooled output of a whole answer."""
    found: Tensor = answered if isinstance(answered, Tensor) else answered.pooler_output
    return found


def run(module: nn.Module, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The answers of a `Task` or a `Tower` to its inputs, which are given in their order."""
    with torch.no_grad():
        found: dict[str, Tensor] = module(*given.values())
    return found
