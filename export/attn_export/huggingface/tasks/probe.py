"""What a model does, asked of it at small sizes: which sizes it takes, whether it heeds padding, what rests on random weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from attn_runtime.errors import UsageError
from attn_runtime.random_inputs import draw_inputs
from attn_runtime.spec import Dim, TensorSpec, named_dims
from torch import Tensor, nn

from ...quiet import captured_output
from .. import SavedModel, words_of
from .together import Fit, Way

Tensors = dict[str, Tensor]
#: Inputs by name -> answers by name.
Ask = Callable[[Tensors], Tensors]
#: Answers closer than this, as a share of the largest, are the same: another order of sums.
_SAME = 1e-3
_LONGEST_LEAST = 64


def draw(
    inputs: Sequence[TensorSpec], sizes: Mapping[str, int], fit: Fit | None = None, words: int | None = None
) -> Tensors:
    """Inputs at `sizes`, a dim that is not named at its opt, made to `fit`. Masks are true, behind `words` tokens false."""
    whole = {name: sizes.get(name, dim.opt) for name, dim in named_dims(inputs).items()}
    drawn = draw_inputs(inputs, whole, 0)
    for value in drawn.values():
        if value.dtype == bool:
            value[...] = True
            value[..., value.shape[-1] if words is None else words :] = False
    made = drawn if fit is None else fit(drawn)
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in made.items()}


def small(inputs: Sequence[TensorSpec]) -> dict[str, int]:
    """Few rows and few tokens, and never 1."""
    return {name: min(dim.max, max(dim.min, 2 if dim.max <= 32 else 7)) for name, dim in named_dims(inputs).items()}


def answered_way(ways: Iterable[Way], ask: Ask, saved: SavedModel) -> Way:
    """The first of `ways` that the model answers, its ranges `fitted`; what is told of it is noted.

    Raises UsageError where it answers none, with what it said to the first.
    """
    refused = None
    for way in ways:
        try:
            inputs = fitted(way.inputs, ask, saved, way.fit)
        except UsageError as problem:
            refused = refused or problem
            continue
        saved.notes.extend([way.note] if way.note else [])
        return replace(way, inputs=inputs)
    assert refused is not None
    raise refused


def fitted(
    inputs: tuple[TensorSpec, ...], ask: Ask, saved: SavedModel, fit: Fit | None = None
) -> tuple[TensorSpec, ...]:
    """`inputs` with ranges whose least sizes the model takes: some take one row alone, or no text of one token.

    Raises UsageError where it takes none of them.
    """
    told = None
    for least in (1, 2, 4, 8, 16, 32, _LONGEST_LEAST):
        trial = tuple(replace(spec, dims=tuple(_from(dim, least) for dim in spec.dims)) for spec in inputs)
        sizes = {name: dim.min for name, dim in named_dims(trial).items()}
        if (told := _problem(ask, trial, sizes, fit)) is None:
            break
    else:
        raise UsageError(f"{saved.ref}: the model does not answer inputs that are drawn for it: {told}; wrap it in a module "
                         "of your own, and name that: package.module:callable with --input")  # fmt: skip
    if least > 1:
        saved.notes.append(f"the model takes no text shorter than {least} tokens")
    two = {name: min(dim.max, max(dim.min, 2)) for name, dim in named_dims(trial).items()}
    if (told := _problem(ask, trial, two, fit)) is None:
        return trial
    alone = tuple(replace(spec, dims=tuple(_one(dim) for dim in spec.dims)) for spec in trial)
    if _problem(ask, alone, {**two, "batch": 1}, fit) is not None:
        raise UsageError(f"{saved.ref}: the model does not answer two rows: {told}")
    saved.notes.append(f"the model takes one row alone ({told})")
    return alone


def _from(dim: Dim, least: int) -> Dim:
    if dim.name != "length" or dim.min >= least or dim.max < least:
        return dim
    return Dim(dim.name, least, max(dim.opt, least), dim.max)


def _one(dim: Dim) -> Dim:
    return Dim("batch", 1, 1, 1) if dim.name == "batch" else dim


def _problem(ask: Ask, inputs: Sequence[TensorSpec], sizes: Mapping[str, int], fit: Fit | None) -> str | None:
    try:
        ask(draw(inputs, sizes, fit))
    except Exception as problem:  # the model's own words
        return words_of(problem)
    return None


def padding_token(model: Any) -> int | None:
    """The token that the model's config calls padding, where its table has it."""
    token = getattr(model.config.get_text_config(), "pad_token_id", None)
    return token if isinstance(token, int) and token >= 0 else None


def heeds_mask(inputs: Sequence[TensorSpec], ask: Ask, fit: Fit | None = None) -> bool:
    """Whether what stands behind a text changes nothing where the mask calls it padding: other tokens, or none at all."""
    length = named_dims(inputs).get("length")
    words, behind = 3 if length is None else max(3, length.min), 3
    if length is None or length.max < words + behind:
        return True
    sizes = small(inputs) | {"length": words + behind}
    long = draw(inputs, sizes, fit, words)
    short = {name: _cut(spec, long[name], words) for name, spec in ((s.name, s) for s in inputs)}
    with captured_output():
        try:
            alone = ask(short)
        except Exception:  # a text that is too short for it
            return True
        padded = ask(long)
    return all(_same(alone[name], _cut_to(padded[name], alone[name])) for name in alone)


def resting_on(
    model: nn.Module, names: Collection[str], inputs: Sequence[TensorSpec], ask: Ask, fit: Fit | None = None
) -> set[str]:
    """The outputs that change when the weights `names` of `model` do. The weights are put back."""
    held = dict(model.named_parameters(remove_duplicate=False)) | dict(model.named_buffers(remove_duplicate=False))
    given = draw(inputs, small(inputs), fit)
    before = ask(given)
    if any(name not in held for name in names):
        return set(before)
    kept = {name: held[name].detach().clone() for name in names}
    generator = torch.Generator().manual_seed(1)
    try:
        with torch.no_grad():
            for name in names:
                if held[name].is_floating_point():
                    held[name].add_(torch.randn(held[name].shape, generator=generator))
        after = ask(given)
    finally:
        with torch.no_grad():
            for name, value in kept.items():
                held[name].copy_(value)
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def _cut(spec: TensorSpec, value: Tensor, size: int) -> Tensor:
    axis = next((n for n, dim in enumerate(spec.dims) if dim.name == "length"), None)
    return value if axis is None else value.narrow(axis, 0, size)


def _cut_to(value: Tensor, like: Tensor) -> Tensor:
    return value[tuple(slice(n) for n in like.shape)]


def _same(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    most = one.abs().max().clamp(min=1e-6)
    return bool((one - other).abs().max() <= _SAME * most)
