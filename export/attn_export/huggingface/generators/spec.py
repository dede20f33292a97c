"""Any model of transformers that generates from a cache of keys and values, as graphs of attn-export."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from attn_models.spec import Extension, GenerationSpec, GraphSpec, ModelSpec
from attn_runtime.errors import UsageError
from attn_runtime.spec import Dim, TensorSpec
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import GenerationConfig

from .. import language_tokens, measured_tolerance, rules_of_generation
from ..assets import text_assets
from ..front_ends import front_end
from .encoder_inputs import EncoderInputs, argument_of_encoder, encoder_inputs
from .plan import Plan
from .probe import extend_view, made_plan, read_once, whole
from .prompts import prompts, special_tokens, tokens_of_assets
from .refusals import refuse_other_state
from .views import Encoder, First, Step

if TYPE_CHECKING:
    from .. import SavedModel

#: Most tokens of a row, of a model that takes more: what is proven at every corner must be affordable.
USUAL_LENGTH = 1024
#: Most rows, fewest of them (beams need some), and what the largest corner may cost: rows * tokens * parameters.
_MOST_ROWS, _FEWEST_ROWS, _MOST_WORK = 32, 4, 1 << 40
#: What a model with an encoder does, by what that reads; Hugging Face's names of tasks.
_TASKS = {"input_ids": "text2text-generation", "pixel_values": "image-to-text"}
#: What a decoder alone may read beside tokens.
_NOT_TEXT = ("pixel_values", "pixel_values_videos", "input_features", "input_values")
#: Names under which configs keep how many places a model has, most telling first.
_PLACES = (
    "max_position_embeddings",
    "n_positions",
    "max_target_positions",
    "max_seq_len",
    "max_decoder_position_embeddings",
)


def generator_spec(model: Any, saved: SavedModel | None = None, max_length: int | None = None) -> ModelSpec:
    """The graphs `first` and `step` of a causal language model, and `encoder` where there is one.

    model       a PreTrainedModel of transformers with a head over a vocabulary, in fp32; it is put in eval mode, without
                gradients
    saved       the folder that it came from: its tokenizer makes the prompts and is among the assets, its feature
                extractor is part of the graph; what is assumed is added to its notes
    max_length  most tokens of a row, prompt and begin included; the model's own limit, at most 1024, without it

    Raises UsageError for a model that keeps another state than keys and values, by the kind of its layers, and for one that
    no convention of calling it runs as without a cache.
    """
    refuse_other_state(model)
    model.eval().requires_grad_(False)
    notes: list[str] = [] if saved is None else saved.notes
    vocabulary = int(model.get_output_embeddings().weight.shape[0])
    limit = _length(model, max_length, notes)
    batch = Dim("batch", 1, 2, _rows(model, limit, notes))
    encoder = encoder_inputs(model, batch, _front_end(model, saved)) if model.config.is_encoder_decoder else None
    plan = made_plan(model, encoder, vocabulary)
    others = [name for name in _NOT_TEXT if name in plan.takes and encoder is None]
    if others:
        notes.append(f"text alone: {type(model).__name__} also takes {', '.join(others)}, which the graphs do not")
    if not plan.convention.positions:
        if "position_ids" in plan.takes:
            notes.append(
                f"{type(model).__name__} numbers its tokens from elsewhere than 0, as its forward does; transformers' generate "
                "passes positions from 0 instead, so that its tokens may be others"
            )
        places = _numbered(model, limit)
        if places < limit:
            notes.append(
                f"rows of up to {places} tokens, prompt included: the first of the model's {limit} places are no token's"
            )
        limit = places
    graphs = _Graphs(model, plan, batch, vocabulary, limit)
    assets = {} if saved is None else text_assets(saved, graphs.all[0].inputs)
    lines = tokens_of_assets(assets, vocabulary)
    languages = language_tokens(special_tokens(assets))
    text = model.config.get_text_config(decoder=True)
    rules, told = rules_of_generation(
        model.generation_config or GenerationConfig(), text, vocabulary, encoder is not None, languages=languages
    )
    notes.extend(told)
    roles = {"encoder": None if encoder is None else "encoder", "first": "first", "step": "step"}
    asset = {**roles, "cache": graphs.names, **rules, "max_length": limit}
    drawn = prompts(plan, vocabulary, limit, lines)
    several = Extension(lambda module: extend_view(module, plan, vocabulary), within_the_cache)
    tolerance, note = measured_tolerance(model, graphs.all[0].view, _longest(drawn))
    notes.extend([note] if note else [])
    return ModelSpec(
        name=str(model.config.model_type).replace("-", "_"),
        task="text-generation" if encoder is None else _TASKS.get(encoder.argument, "automatic-speech-recognition"),
        summary=type(model).__name__,
        build=lambda: model,
        graphs=tuple(graphs.all),
        tolerance=tolerance,
        assets=lambda: assets,
        generation=GenerationSpec(
            asset, _logits(encoder), drawn, None if encoder is None else partial(_read, encoder), extend=several
        ),
    )


def _logits(encoder: EncoderInputs | None) -> Callable[[nn.Module, Mapping[str, Tensor], Tensor], Tensor]:
    return lambda module, context, tokens: whole(module, encoder, context, tokens)


def _read(encoder: EncoderInputs, module: nn.Module, context: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    return read_once(module, encoder, context)


def _length(model: Any, max_length: int | None, notes: list[str]) -> int:
    """Most tokens of a row."""
    text = model.config.get_text_config(decoder=True)
    own = next((n for n in (getattr(text, name, None) for name in _PLACES) if isinstance(n, int) and n > 0), None)
    if max_length is not None:
        if max_length < 2:
            raise UsageError(f"max_length: got {max_length}, expected 2 or more")
        if own is not None and max_length > own:
            raise UsageError(f"max_length: got {max_length}; {type(model).__name__} has {own} places")
        return max_length
    limit = min(own or USUAL_LENGTH, USUAL_LENGTH)
    if own is None or own > limit:
        has = "says nothing of how long a row may be" if own is None else f"takes rows of {own} tokens"
        notes.append(f"rows of up to {limit} tokens, prompt included; the model {has}")
    return limit


def _numbered(model: nn.Module, limit: int) -> int:
    """The tokens that a table of places has room for, where the model numbers them behind its padding's row."""
    words = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[operator]
    tables = [
        m for m in model.modules() if isinstance(m, nn.Embedding) and m.num_embeddings <= limit and m not in words
    ]
    return min([limit, *(t.num_embeddings - t.padding_idx - 1 for t in tables if t.padding_idx is not None)])


def _rows(model: nn.Module, limit: int, notes: list[str]) -> int:
    """Most rows, a power of two."""
    work = limit * max(1, sum(p.numel() for p in model.parameters()))
    rows = max(_FEWEST_ROWS, min(_MOST_ROWS, 1 << max(0, (_MOST_WORK // work).bit_length() - 1)))
    if rows < _MOST_ROWS:
        notes.append(
            f"batches of up to {rows} rows, so that PyTorch answers the largest in reasonable time; --dim batch=1:2:N"
        )
    return rows


def _front_end(model: Any, saved: SavedModel | None) -> tuple[nn.Module, TensorSpec] | None:
    """What makes the encoder's features of a waveform, and the waveform's spec."""
    if saved is None or argument_of_encoder(model) not in ("input_features", "input_values"):
        return None
    found = front_end(saved, model)
    return None if found is None else (found, found.input)


class _Graphs:
    """Names, sizes and ranges of the graphs: `names` of the cached tensors, `all` the graphs in order."""

    def __init__(self, model: nn.Module, plan: Plan, batch: Dim, vocabulary: int, limit: int) -> None:
        self.plan, self.batch = plan, batch
        self.names = [f"{kind}_{n}" for n in plan.layers for kind in ("key", "value")]
        self.all: list[GraphSpec] = []
        one = Dim.fixed(1)
        prompt, cache = Dim("prompt", 1, min(8, limit), limit), Dim("cache", 1, min(16, limit), limit)
        ids = partial(TensorSpec, dtype="int64", low=0, high=vocabulary)
        scores = TensorSpec(
            "logits", "float32", (batch, Dim.fixed(vocabulary)), "scores of what follows the last token"
        )
        between: tuple[TensorSpec, ...] = ()
        source_mask: tuple[TensorSpec, ...] = ()
        cross: tuple[TensorSpec, ...] = ()
        if plan.encoder is not None:
            length = _memory_length(model, plan)
            memory = TensorSpec("memory", "float32", (batch, length, Dim.fixed(plan.memory_width)))
            source_mask = plan.encoder.specs[1:]
            between = (memory, *source_mask)
            self.all.append(GraphSpec("encoder", plan.encoder.specs, (memory,), lambda m: Encoder(m, plan)))
            cross = self._cached("cross_", length, plan.cross_shapes)
        position = ids(name="position", dims=(one if plan.one_place else batch, one), high=limit)
        past_mask = TensorSpec("past_mask", "bool", (batch, cache), "true at the places that are filled")
        tokens = ids(name="tokens", dims=(batch, prompt))
        tokens_mask = TensorSpec("tokens_mask", "bool", (batch, prompt), "true at tokens, false behind them")
        answers = (scores, *self._cached("new_", prompt), *cross)
        self.all.append(GraphSpec("first", (tokens, tokens_mask, *between), answers, lambda m: First(m, plan)))
        read = (ids(name="token", dims=(batch, one)), position, past_mask, *source_mask)
        read = (*read, *self._cached("past_", cache), *cross)
        answers = (scores, *self._cached("new_", one))
        self.all.append(GraphSpec("step", read, answers, lambda m: Step(m, plan), within_the_cache))

    def _cached(
        self, prefix: str, length: Dim, shapes: Sequence[tuple[int, int]] | None = None
    ) -> tuple[TensorSpec, ...]:
        return tuple(
            TensorSpec(prefix + name, "float32", (self.batch, Dim.fixed(heads), length, Dim.fixed(size)))
            for name, (heads, size) in zip(self.names, self.plan.shapes if shapes is None else shapes, strict=True)
        )


@torch.no_grad()
def _memory_length(model: nn.Module, plan: Plan) -> Dim:
    """The length of what the encoder says: that of a text, or measured at the ends of the range of what it reads."""
    assert plan.encoder is not None
    if plan.encoder.masked:
        return plan.encoder.dims[0]
    view = Encoder(model, plan)
    free = [d for d in plan.encoder.dims if d.dynamic]
    sizes = [free[0].min, free[0].opt, free[0].max] if free else [None]
    lengths = [view(*plan.encoder.sample(1, size).values()).shape[1] for size in sizes]
    return Dim("memory", *lengths) if free else Dim.fixed(lengths[0])


def within_the_cache(drawn: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The inputs of a step, or of several tokens at once, as a generator gives them: every new token stands at a place of the
    cache, and what is filled is before them."""
    capacity = drawn["past_mask"].shape[1]
    position = drawn["position"] % (capacity - drawn["token"].shape[1] + 1)
    return {**drawn, "position": position, "past_mask": drawn["past_mask"] & (np.arange(capacity) < position)}


def _longest(drawn: Callable[[int], list[dict[str, Tensor]]]) -> list[Tensor]:
    """Inputs of the first graph, by which rounding is measured: a prompt's, or an encoder's, which is as deep."""
    prompt = max(drawn(0), key=lambda prompt: next(iter(prompt.values())).shape[-1])
    tokens = prompt.get("tokens")
    return list(prompt.values()) if tokens is None else [tokens, torch.ones_like(tokens, dtype=torch.bool)]
