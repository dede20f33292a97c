"""Inputs that must fit one another, where each is drawn by itself: boxes that have an inside, texts that end as a model's do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from attn_runtime.spec import TensorSpec
from numpy.typing import NDArray

from .inputs import BOXES, has_towers

_Drawn = Mapping[str, NDArray[Any]]
#: As `GraphSpec.fit`.
Fit = Callable[[_Drawn], _Drawn]
_OPTIONAL_PICTURE = "pixel_values"


@dataclass(frozen=True)
class Together:
    """Makes of inputs that were drawn each by itself such as come together, of the same shapes: a `Fit`.

    end     a token that stands at the end of every text, and in longer ones at their beginning too, and nowhere else
    """

    end: int | None = None

    def __call__(self, drawn: _Drawn) -> _Drawn:
        made = dict(drawn)
        if (boxes := drawn.get(BOXES)) is not None:
            corners = np.sort(boxes.reshape(*boxes.shape[:-1], 2, 2), axis=-2)
            made[BOXES] = corners.reshape(boxes.shape)
        if self.end is not None:
            made["input_ids"] = _ending(drawn["input_ids"], drawn.get("attention_mask"), self.end)
        return made


@dataclass(frozen=True)
class Way:
    """One way to ask a model: its inputs, what makes them fit, and what is to be told of it."""

    inputs: tuple[TensorSpec, ...]
    fit: Fit | None = None
    note: str = ""


def ways(model: Any, inputs: tuple[TensorSpec, ...]) -> Iterator[Way]:
    """The ways to ask `model`, the usual one first: the first that it answers is its own."""
    alone = _texts_alone(model, inputs)
    end = _end_token(model) if any(spec.name == "input_ids" for spec in inputs) else None
    for chosen, note in (
        (inputs, ""),
        (alone, "pictures are left out: it reads texts, and pictures as some of their tokens"),
    ):
        if chosen:
            yield Way(chosen, Together() if any(spec.name == BOXES for spec in chosen) else None, note)
        if chosen and end is not None:
            told = (
                f"it answers at the last token {end} (the end of a text): each text must hold it, and all texts of a batch "
                "as often"
            )
            yield Way(chosen, Together(end), f"{note}; {told}" if note else told)


def _texts_alone(model: Any, inputs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """`inputs` without pictures, of a model that reads both as one row of tokens; () where there is no such choice."""
    names = {spec.name for spec in inputs}
    if not {"input_ids", _OPTIONAL_PICTURE} <= names or has_towers(model):
        return ()
    return tuple(spec for spec in inputs if spec.name != _OPTIONAL_PICTURE)


def _end_token(model: Any) -> int | None:
    token = getattr(model.config.get_text_config(), "eos_token_id", None)
    return token if isinstance(token, int) and token >= 0 else None


def _ending(tokens: NDArray[Any], mask: NDArray[Any] | None, end: int) -> NDArray[Any]:
    """`tokens` [..., length] with `end` where `mask` is true for the last time, and at the beginning where each row has room
    for both: as often in each, and the last one is not the only one."""
    length = tokens.shape[-1]
    made = np.where(tokens == end, end - 1 if end else end + 1, tokens)
    last = np.full(tokens.shape[:-1], length - 1) if mask is None else length - 1 - mask[..., ::-1].argmax(-1)
    if (last > 0).all():
        made[..., 0] = end
    np.put_along_axis(made, last[..., None], np.asarray(end, made.dtype), -1)
    return made
